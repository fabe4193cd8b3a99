import numpy as np

from imbalance_study.evaluation.figures.reconstruction import reconstructions


def test_each_image_is_beside_its_reconstruction(saved):
    generator = np.random.default_rng(0)
    images, drawn = generator.integers(0, 255, (2, 5, 8, 8, 3)).astype(np.uint8)
    figure = reconstructions(images, drawn, np.array([0, 1, 0, 1, 1]), ["cat", "dog"])
    pictures = [picture.get_array() for picture in figure.axes[0].images]
    for index in range(5):
        assert (pictures[2 * index] == images[index]).all()
        assert (pictures[2 * index + 1] == drawn[index]).all()
    boxes = [picture.get_extent() for picture in figure.axes[0].images]
    assert boxes[0][3] == boxes[1][3] == boxes[7][3]
    assert boxes[8][3] > boxes[7][3]  # the fifth pair begins a row
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("cat") == 2
    assert texts.count("reconstruction") == 5
    saved(figure)
