from pathlib import Path

import pytest

from imbalance_study.data.csv_columns import Table, find, parse


def table(header: str, *rows: str) -> Table:
    cells = [(number + 2, row.split(",")) for number, row in enumerate(rows)]
    return Table(Path("t.csv"), header.split(","), cells)


def names(found, header: str) -> tuple:
    columns = header.split(",")
    group, split = (None if at is None else columns[at] for at in (found.group, found.split))
    return columns[found.path], [columns[at] for at in found.labels], group, split


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("path,label", ("path", ["label"], None, None)),
        ("Filename,CLASS", ("Filename", ["CLASS"], None, None)),
        ("lesion_id,image_id,dx,age", ("image_id", ["dx"], "lesion_id", None)),
        ("Image Index,Finding Labels", ("Image Index", ["Finding Labels"], None, None)),
        ("image,label,Patient ID", ("image", ["label"], "Patient ID", None)),
        ("ImageId,ClassId,EncodedPixels", ("ImageId", ["ClassId"], None, None)),
        ("patientId,x,y,Target", ("patientId", ["Target"], None, None)),
        ("id_code,diagnosis", ("id_code", ["diagnosis"], None, None)),
        ("id,file_name,subject,category", ("file_name", ["category"], "subject", None)),
        ("image,anything", ("image", ["anything"], None, None)),
        ("imageFileName,final_diagnosis", ("imageFileName", ["final_diagnosis"], None, None)),
        ("photo,plant class,case_no", ("photo", ["plant class"], "case_no", None)),
        ("Unnamed: 0,image,anything", ("image", ["anything"], None, None)),
    ],
)  # fmt: skip
def test_columns_are_found_by_their_usual_names(header: str, wanted: tuple) -> None:
    assert names(find(table(header), {}), header) == wanted


def test_a_column_of_parts_is_taken_where_it_holds_parts() -> None:
    header = "image,label,set"
    assert find(table(header, "1,x,Train", "2,y,testing"), {}).split == 2
    assert find(table(header, "1,x,A", "2,y,B"), {}).split is None


def test_the_user_chooses_columns() -> None:
    header = "image_id,dx,kind,lesion_id,part of it"
    rows = ("1,a,b,c,train", "2,a,b,c,train")
    chosen = parse("label:kind, group:none,split:part of it")
    found = find(table(header, *rows), chosen)
    assert names(found, header) == ("image_id", ["kind"], None, "part of it")
    found = find(table("f,A,B", "1,0,1"), parse("path:f,label:A+B"))
    assert found.labels == (1, 2)


def test_other_columns_of_labels_are_named() -> None:
    words = find(table("image_name,patient_id,diagnosis,target"), {}).words
    assert words == (
        "columns of t.csv: image_name is the file, target the label, patient_id the group; "
        "csv_columns=label:NAME chooses another, diagnosis"
    )


@pytest.mark.parametrize(
    ("header", "chosen", "message"),
    [
        (
            "where,label",
            "",
            "no column of files .* csv_columns=path:NAME. Its columns: where, label",
        ),
        ("path,a,b", "", "no column of labels .*label, labels, class.*csv_columns=label:NAME"),
        ("path,label,Label", "", "two columns 'label': rename one"),
        ("path,label", "label:dx", "t.csv has no column 'dx'; its columns: path, label"),
    ],
)
def test_a_column_that_is_not_clear_is_asked_for(header: str, chosen: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(table(header, ",".join("xyz"[: header.count(",") + 1])), parse(chosen))


@pytest.mark.parametrize("text", ["dx", "label:", "name:x", "label:a,label:b", ":x"])
def test_a_choice_of_columns_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="csv_columns must be like path:NAME,label:NAME"):
        parse(text)
