import threading

from imbalance_study.experiment.analyses import features


def test_the_wanted_projections_are_drawn_with_the_images_they_belong_to(make_context):
    found = features.features(make_context(wanted=frozenset({"pca", "confusion"})))
    columns = found.frames["features/coordinates"]
    assert {"pca_1", "pca_2", "index", "label"} <= set(columns)
    assert "tsne_1" not in columns
    assert len(columns["pca_1"]) == 12
    assert set(found.tables) == {"features_by_class", "explained_variance"}
    assert list(found.figures) == ["features"]


def test_all_runs_on_the_same_images_show_the_same_ones(make_context):
    def shown(seed):
        context = make_context(seed=seed, wanted=frozenset({"pca"}))
        return features.features(context).frames["features/coordinates"]["index"].tolist()

    assert shown(1) == shown(2)


def test_umap_waits_until_it_is_compiled(make_context, monkeypatch):
    ready = threading.Event()
    thread = threading.Thread(target=ready.wait, args=(5,))
    thread.start()
    monkeypatch.setattr(thread, "join", lambda: (ready.set(), threading.Thread.join(thread)))
    features.features(make_context(wanted=frozenset({"pca"}), umap_warm_up=thread))
    assert not ready.is_set()  # nobody waits for what is not wanted
    assert thread.is_alive()
    ready.set()
    threading.Thread.join(thread)
