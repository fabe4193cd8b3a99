from collections.abc import Callable
from pathlib import Path

import pytest

from imbalance_study.data.csv_table import list_table
from imbalance_study.data.part_names import PARTS

MakeFolder = Callable[..., Path]


@pytest.fixture
def folder(image_folder: MakeFolder) -> Path:
    return image_folder({"a": 3, "b": 3})


def table(folder: Path, text: str) -> Path:
    path = folder / "images.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_and_labels_are_read_in_the_order_of_the_paths(folder: Path) -> None:
    text = 'path,label,ignored\n./b/0.png,"x, y",1\na/0.png,été,2\na/1.png,été,3\n'
    listing = list_table(table(folder, text))
    assert [entry.name for entry in listing.entries] == ["a/0.png", "a/1.png", "b/0.png"]
    assert listing.class_names == ("x, y", "été")
    assert listing.labels.tolist() == [1, 1, 0]
    assert listing.parts.tolist() == [0, 0, 0]
    assert len(listing.groups) == 0
    assert listing.entries[0].size == (folder / "a" / "0.png").stat().st_size


def test_a_mark_at_the_start_as_spreadsheets_write_it_is_no_part_of_the_name(folder: Path) -> None:
    path = table(folder, "\ufeffpath,label\na/0.png,x\nb/0.png,y\n")
    assert list_table(path).class_names == ("x", "y")


def test_numbers_as_labels_are_ordered_by_value(folder: Path) -> None:
    path = table(folder, "path,label\na/0.png,10\na/1.png,9\nb/0.png,1\n")
    assert list_table(path).class_names == ("1", "9", "10")


def test_split_and_group_are_read_whatever_the_order_of_the_rows(folder: Path) -> None:
    rows = [
        "a/0.png,x,train,ann", "a/1.png,x,test,bob", "a/2.png,x,Validation,zoe",
        "b/0.png,y,train,ann", "b/1.png,y,valid,zoe",
    ]  # fmt: skip
    for ordered in (rows, rows[::-1]):
        listing = list_table(table(folder, "\n".join(["path,label,split,group", *ordered])))
        assert listing.parts.tolist() == [0, 2, 1, 0, 1]
        assert listing.groups.tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "where,label\na/0.png,x\n",
            "no column of files .*csv_columns=path:NAME.*columns: where, label",
        ),
        ("path|label\na/0.png|x\n", "no column of files .* Its columns: path.label"),
        ("", "no column of files .* Its columns: none"),
        ("path,label\n", "at least two labels, found: none"),
        ("path,label\na/0.png,x\n", "at least two labels, found: x"),
        ("path,label\na/0.png,x\n\na/1.png, \n", "line 4: column 'label' is empty"),
        ("path,label\na/0.png,x\na/1.png\n", "line 3 has 1 field, the header 2"),
        (
            "path,label\na/0.png,x\nc/9.png,y\n",
            "1 of 2 files are not in .*: 'c/9.png' .line 3.; on_bad",
        ),
        ("path,label\na/0.png,x\n../x.png,y\n", "line 3: .*leads out of"),
        ("path,label\na/0.png,x\n/etc/passwd,y\n", "line 3: .*leads out of"),
        ("path,label\na/0.png,x\nout.png,y\n", "line 3: .*leads out of"),
        ("path,label\na/0.png,x\na,y\n", "line 3: 'a' is a folder"),
        ("path,label\na/0.png,x\na/..,y\n", "line 3: 'a/..' is a folder"),
        ("path,label\na/0.png,x\n./a//0.png,y\n", "line 3: .*before, in line 2"),
        ("path,label\na/0.png,x\na/twin.png,y\n", "line 3: .*before, in line 2"),
        (
            "path,label,split\na/0.png,x,train\na/1.png,y,later\n",
            "line 3: column 'split' must be one of train, val, test, got 'later'",
        ),
        ("path,label,split\na/0.png,x,train\na/1.png,y,\n", "line 3: column 'split' is empty"),
        ("path,label,group\na/0.png,x,1\na/1.png,y,\n", "line 3: column 'group' is empty"),
        (
            "path,label,split\na/0.png,x,train\na/1.png,x,train\nb/0.png,y,test\n",
            "label 'y' has no image of the training part",
        ),
        (
            "path,label,split,group\na/0.png,x,train,g\nb/0.png,y,train,h\nb/1.png,y,test,g\n",
            "line 4: group 'g' is in part test here and train in line 2",
        ),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(folder: Path, text: str, message: str) -> None:
    (folder.parent / "x.png").write_bytes(b"")
    (folder / "out.png").symlink_to(folder.parent / "x.png")
    (folder / "a" / "twin.png").symlink_to("0.png")
    with pytest.raises(ValueError, match=rf"images\.csv.*{message}"):
        list_table(table(folder, text))


def test_a_null_character_in_a_path_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"null byte|NUL"):
        list_table(table(folder, "path,label\na/0.png,x\na\0b.png,y\n"))


def texts(listing):
    return [one.text for one in listing.findings]


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_cells_are_stripped_in_every_column(folder: Path) -> None:
    text = "path , label,group ,split\n a/0.png , x,P1, train \na/1.png,x ,P1 ,train\n"
    text += "b/0.png,y,P2,\ttest\n"
    text += "b/1.png,y,P3,train\n"
    listing = list_table(table(folder, text))
    assert listing.class_names == ("x", "y")
    assert listing.groups.tolist() == [0, 0, 1, 2]
    assert listing.parts.tolist() == [0, 0, 2, 0]


def test_missing_files_are_counted_and_the_first_five_named(folder: Path) -> None:
    rows = [f"gone/{number}.png,x" for number in range(7)]
    path = table(folder, "\n".join(["path,label", "a/0.png,x", "b/0.png,y", *rows]))
    with pytest.raises(
        ValueError, match=r"7 of 9 files are not in .*gone/4.png.* and 2 more"
    ) as said:
        list_table(path)
    assert "gone/5.png" not in str(said.value)
    listing = list_table(path, on_bad_image="skip")
    assert [entry.size > 0 for entry in listing.entries].count(False) == 7


def test_rows_that_repeat_an_image_and_its_label_are_read_once(folder: Path) -> None:
    listing = list_table(table(folder, "path,label,x\na/0.png,x,1\na/0.png,x,2\nb/0.png,y,3\n"))
    assert len(listing.entries) == 2
    assert "1 rows that repeat the image and the label of another are read once" in texts(listing)


def test_labels_that_look_alike_are_named(folder: Path) -> None:
    listing = list_table(table(folder, "path,label\na/0.png,1\na/1.png,1.0\nb/0.png,2\n"))
    assert "'1' (1), '1.0' (1) are different classes, and look alike" in texts(listing)


@pytest.mark.parametrize("label", ["nan", "NaN", "<NA>"])
def test_a_label_that_is_not_there_is_no_class(folder: Path, label: str) -> None:
    with pytest.raises(ValueError, match=f"line 3: column 'label' is '{label}', which is no label"):
        list_table(table(folder, f"path,label\na/0.png,x\na/1.png,{label}\nb/0.png,y\n"))


@pytest.mark.parametrize("label", ["rust|scab", "rust scab", '"rust, scab"', "scab;rust"])
def test_several_labels_in_a_cell_are_refused(folder: Path, label: str) -> None:
    path = table(folder, f"path,label\na/0.png,rust\na/1.png,{label}\nb/0.png,scab\n")
    with pytest.raises(
        ValueError, match=r"line 3: .* holds several labels, as 1 of 3 rows do. This"
    ):
        list_table(path)


def test_a_label_of_several_words_is_one_label(folder: Path) -> None:
    path = table(
        folder, 'path,label\na/0.png,early blight\na/1.png,"blight, late"\nb/0.png,healthy\n'
    )
    assert len(list_table(path).class_names) == 3


def test_a_guessed_group_may_be_empty_and_a_named_one_not(folder: Path) -> None:
    rows = "a/0.png,x,p\na/1.png,x,p\nb/0.png,y,\nb/1.png,y,nan\n"
    listing = list_table(table(folder, f"path,label,patient_id\n{rows}"))
    assert len(set(listing.groups.tolist())) == 3
    assert "2 rows have no patient_id: each is a group of its own" in texts(listing)
    with pytest.raises(ValueError, match="line 4: column 'group' is empty"):
        list_table(table(folder, f"path,label,group\n{rows}"))


def test_columns_of_true_and_false_are_classes(folder: Path) -> None:
    path = table(folder, "image,rust,scab\na/0.png,True,False\na/1.png,False,True\nb/0.png,True,\n")
    assert list_table(path).labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("words", ["0 1 2", "fold_0 fold_1 fold_2"])
def test_a_column_of_folds_gives_the_test_part(folder: Path, words: str) -> None:
    rows = [
        f"{name}/{n}.png,{name},{word}" for name in "ab" for n, word in enumerate(words.split())
    ]
    path = table(folder, "\n".join(["path,label,fold", *rows]))
    assert list_table(path).parts.tolist() == [2, 0, 0, 2, 0, 0]
    listing = list_table(path, test_fold=2)
    assert listing.parts.tolist() == [0, 0, 2, 0, 0, 2]
    assert "fold 2 of 3 is the test part" in " ".join(texts(listing))
    with pytest.raises(ValueError, match="test_fold must be one of 0, 1, 2"):
        list_table(path, test_fold=5)


def test_a_fold_without_folds_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"test_fold=1 has no effect: .*images.csv has no folds"):
        list_table(table(folder, "path,label\na/0.png,x\nb/0.png,y\n"), test_fold=1)


def test_the_folders_of_the_files_are_the_parts_where_no_column_is(tmp_path: Path) -> None:
    fill(tmp_path, "Train/0.png", "Train/1.png", "Testing/2.png")
    listing = list_table(table(tmp_path, "id,label\n0,x\n1,y\n2,x\n"))
    assert [PARTS[part] for part in listing.parts] == ["test", "train", "train"]
    assert "the parts are those of the folders of the files" in texts(listing)


# Shapes of published tables.


def test_ham10000_has_its_images_in_two_folders_and_lesions_as_groups(tmp_path: Path) -> None:
    fill(tmp_path, *(f"HAM10000_images_part_{1 + n // 3}/ISIC_{n}.jpg" for n in range(6)))
    head = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    rows = [
        f"HAM_{n // 2},ISIC_{n},{'mel' if n > 3 else 'nv'},histo,80.0,male,scalp" for n in range(6)
    ]
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join([head, *rows]))
    (tmp_path / "hmnist_8_8_L.csv").write_text("pixel0000,pixel0001,label\n1,2,0\n")
    listing = list_table(tmp_path)
    assert listing.class_names == ("mel", "nv")
    assert listing.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert texts(listing) == [
        "tables hmnist_8_8_L.csv",
        "columns of HAM10000_metadata.csv: image_id is the file, dx the label, lesion_id the group",
        "6 of 6 files were found by their names, in HAM10000_images_part_1 3, "
        "HAM10000_images_part_2 3",
    ]


def test_isic_has_a_column_of_0_and_1_for_each_class(tmp_path: Path) -> None:
    fill(tmp_path, "input/ISIC_1.jpg", "input/ISIC_2.jpg", "input/ISIC_3.jpg")
    head = "image,MEL,NV,BCC,UNK\n"
    path = table(tmp_path, head + "ISIC_1,1.0,0.0,0.0,0.0\nISIC_2,0.0,1.0,0.0,0\nISIC_3,1,0,0,0\n")
    listing = list_table(path)
    assert listing.class_names == ("MEL", "NV")
    assert listing.labels.tolist() == [0, 1, 0]
    assert "MEL, NV, BCC, UNK hold 1 for the label" in texts(listing)[0]
    path = table(tmp_path, head + "ISIC_1,1.0,0.0,0.0,0.0\nISIC_2,0,1,1,0\n")
    with pytest.raises(ValueError, match=r"line 3: NV, BCC are 1. This program gives an image one"):
        list_table(path)
    path = table(tmp_path, head + "ISIC_1,1.0,0.0,0.0,0.0\nISIC_2,0,0,0,0\n")
    with pytest.raises(ValueError, match="line 3: none of the columns MEL, NV, BCC, UNK is 1"):
        list_table(path)


def test_chest_x_rays_of_the_nih_have_one_label_or_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, *(f"images_00{n}/images/0000{n}_000.png" for n in (1, 2, 3)))
    head = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,"
        "OriginalImage[Width,Height],\n"
    )
    rows = [f"0000{n}_000.png,{{}},0,{n},058Y,2682,2749," for n in (1, 2, 3)]
    text = head + "\n".join(rows)
    path = table(tmp_path, text.format("Cardiomegaly", "No Finding", "Cardiomegaly"))
    listing = list_table(path)
    assert listing.class_names == ("Cardiomegaly", "No Finding")
    assert listing.groups.tolist() == [0, 1, 2]
    path = table(tmp_path, text.format("Cardiomegaly", "No Finding", "Effusion|Nodule"))
    with pytest.raises(ValueError, match=r"line 4: 'Effusion.Nodule' holds several labels"):
        list_table(path)


def test_a_kaggle_contest_has_a_train_csv_and_an_unlabelled_test_folder(tmp_path: Path) -> None:
    fill(tmp_path, "train/1.jpg", "train/2.jpg", "train/3.jpg", "test/9.jpg")
    (tmp_path / "train.csv").write_text("id,label\n1,cat\n2,dog\n3,cat\n")
    (tmp_path / "test.csv").write_text("id\n9\n")
    (tmp_path / "sample_submission.csv").write_text("id,label\n9,cat\n")
    listing = list_table(tmp_path)
    assert listing.labels.tolist() == [0, 1, 0]
    assert texts(listing)[:3] == [
        "tables sample_submission.csv, test.csv",
        "columns of train.csv: id is the file, label the label",
        "train.csv is the training part",
    ]


def test_tables_named_by_parts_are_the_parts(tmp_path: Path) -> None:
    fill(tmp_path, "images/1.jpg", "images/2.jpg", "images/3.jpg")
    (tmp_path / "Training_set.csv").write_text("filename,label\n1.jpg,cat\n2.jpg,dog\n")
    (tmp_path / "Testing_set.csv").write_text("filename,label\n3.jpg,dog\n")
    listing = list_table(tmp_path)
    assert listing.parts.tolist() == [0, 0, 2]
    assert listing.labels.tolist() == [0, 1, 1]


def test_rsna_names_images_by_patient_and_repeats_those_with_several_boxes(tmp_path: Path) -> None:
    fill(tmp_path, "stage_2_train_images/ab.png", "stage_2_train_images/cd.png")
    path = table(
        tmp_path,
        "patientId,x,y,width,height,Target\nab,,,,,0\ncd,264.0,152.0,213.0,379.0,1\n"
        "cd,562.0,152.0,256.0,453.0,1\n",
    )
    listing = list_table(path)
    assert listing.class_names == ("0", "1")
    assert len(listing.entries) == 2
    assert len(listing.groups) == 0
