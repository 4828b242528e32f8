"""Static int8 of an image network: smaller, and nearly the same answers."""

from dataclasses import replace

import torch

from helpers.data.pictures import open_image
from helpers.data.sources import ANIMALS
from helpers.data.transforms import evaluation_preset
from helpers.deployment import export
from helpers.deployment.predict import OnnxModel, compare, predict
from helpers.models.pretrained import image_classifier
from lessons.ch08 import static_int8


def test_calibrated_pictures_make_a_smaller_file_that_answers_alike(animals, tmp_path):
    torch.manual_seed(0)
    classifier = image_classifier(classes=ANIMALS)
    images = animals["image"].sample(60, random_state=0).tolist()
    transform = evaluation_preset(classifier.preprocessor)
    pictures = torch.stack([transform(open_image(image)) for image in images[:20]])
    source = export.export_onnx(classifier, tmp_path / "float32", images[:4]).file
    static_int8.quantise_pictures(source, tmp_path / "int8.onnx", pictures)
    small = replace(classifier, model=OnnxModel(tmp_path / "int8.onnx", threads=1))
    found = compare(predict(classifier, images[20:]), predict(small, images[20:]))
    assert found.agreement > 0.6  # of ten classes, by a head that nobody trained
    assert (tmp_path / "int8.onnx").stat().st_size < 0.35 * source.stat().st_size
    assert not list(tmp_path.glob("*.prepared.onnx"))
