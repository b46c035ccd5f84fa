"""TRACER, VGG-16 and other classifiers of torchvision: the real classes with random weights; Intrinsic and rembg by
stand-ins with their signatures, since neither package can be had or loaded quickly where the tests run."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import ldmscene
from ldmscene import labelers
from ldmscene.errors import InputError, ShapeError, UnknownNameError
from ldmscene.labelers.classifier import Classifier
from ldmscene.labelers.tracer import Tracer
from ldmscene.labelers.weights import load_state, need
from tests.conftest import files, make_manifest

# --- TRACER ---


@pytest.fixture(scope="module")
def tracer_weights(carvekit, tmp_path_factory):
    from carvekit.ml.arch.tracerb7.efficientnet import EfficientEncoderB7
    from carvekit.ml.arch.tracerb7.tracer import TracerDecoder

    torch.manual_seed(0)
    path, model = tmp_path_factory.mktemp("tracer") / "tracer_b7.pth", TracerDecoder(encoder=EfficientEncoderB7())
    with torch.no_grad():  # so that the mask varies
        for name, weight in model.named_parameters():
            weight.mul_(8 if weight.ndim > 1 and not name.startswith("encoder") else 1)
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def tracer(tracer_weights) -> Tracer:
    return Tracer(tracer_weights, size=64, device="cpu")


def test_tracer_is_carvekits_own_answer_from_0_to_1(tracer, tracer_weights, pictures):
    from carvekit.ml.wrap.tracer_b7 import TracerUniversalB7

    own = TracerUniversalB7(device="cpu", input_image_size=64, batch_size=1, model_path=tracer_weights)
    expected = np.stack([np.asarray(mask) for mask in own([Image.fromarray(p) for p in pictures])])
    found = tracer(pictures)
    np.testing.assert_allclose(found * 255, expected, atol=1.01)  # of one step of 8 bits, for another batch
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.filterwarnings("ignore::ldmscene.errors.LabelWarning")  # random weights may call everything foreground
def test_tracer_through_label_keeps_the_soft_map_and_its_threshold(tracer, two):
    ldmscene.label(two, "mask", tracer)
    ldmscene.label(two, "sharp", tracer, threshold=0.6)
    np.testing.assert_array_equal(two.labels("mask"), two.labels("sharp"))
    assert two.labels("mask").attrs["threshold"] == 0.0  # as published
    assert two.labels("sharp").attrs["threshold"] == 0.6
    assert "TRACER-B7 (carvekit)" in two.labels("mask").attrs["labeler"]


def test_weights_that_are_not_tracers_are_refused(carvekit, tmp_path, small):
    torch.save({"encoder.nothing": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"lacks \d+ tensors"):
        ldmscene.label(small, "mask", f"tracer:{tmp_path / 'other.pth'}")
    with pytest.raises(InputError, match="no weights at"):
        ldmscene.label(small, "mask", f"tracer:{tmp_path / 'nowhere.pth'}")


def test_without_network_tracers_weights_are_named_with_the_command(carvekit, tmp_path, monkeypatch):
    import carvekit.ml.files

    monkeypatch.setattr(carvekit.ml.files, "checkpoints_dir", tmp_path)
    with pytest.raises(InputError, match="tracer_b7_pretrained"):
        labelers.find("tracer")


class Exploit:
    def __reduce__(self):
        return os.mkdir, ("code-was-run",)


@pytest.mark.parametrize("content", [{"w": Exploit()}, Exploit(), [torch.zeros(1)], {"w": 1}])
def test_pickled_code_is_never_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "weights.pth")
    with pytest.raises(InputError, match=r"weights alone|no state_dict"):
        load_state("weights.pth")
    assert not (tmp_path / "code-was-run").exists()


def test_a_damaged_file_is_no_weights(tmp_path):
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(InputError, match="isn't a file of weights alone"):
            load_state(tmp_path / name)


# --- classifiers ---


def test_vgg16_through_label_keeps_the_softmax_of_its_logits(torchvision, two):
    torch.manual_seed(0)
    entry = torchvision.models.VGG16_Weights.IMAGENET1K_V1
    vgg16 = Classifier(torchvision.models.vgg16(weights=None), entry.transforms(), entry.meta["categories"], "cpu")
    ldmscene.label(two, "class", vgg16)
    with torch.no_grad():
        logits = vgg16.model(vgg16.transform(torch.from_numpy(two.images().values).permute(0, 3, 1, 2)))
    shares = np.exp(logits.double().numpy())
    np.testing.assert_allclose(two.predictions("class"), shares / shares.sum(1, keepdims=True), rtol=1e-4)
    assert two.predictions("class").attrs == vgg16.provenance
    assert len(vgg16.provenance["classes"]) == 1000
    assert two.targets == []  # nothing to probe per pixel


def test_a_classifier_names_the_subject_step_by_step(torchvision, tiny, tmp_path):
    torch.manual_seed(0)
    entry = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    squeezenet = Classifier(
        torchvision.models.squeezenet1_1(weights=None), entry.transforms(), entry.meta["categories"], "cpu"
    )
    module = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
    store = ldmscene.extract(
        tiny, make_manifest(1, 1), tmp_path / "s", [module], steps=2, batch_size=2, previews=True, progress=False
    )
    ldmscene.label(store, "class", squeezenet)
    with pytest.raises(ldmscene.errors.IncompleteError, match="on='noisy'"):
        ldmscene.recognition(store)
    ldmscene.label(store, "class", squeezenet, on="noisy")
    ldmscene.label(store, "class", squeezenet, on="predicted", split="test")
    frame = ldmscene.recognition(store, top=1)
    assert frame.groupby("source")["sample_id"].nunique().to_dict() == {"noisy": 2, "predicted": 1}
    classes = store.predictions("class").attrs["classes"]
    for row in frame.itertuples():
        chances = store.intermediate(row.source, "class").sel(sample=row.sample_id, step=row.step).values
        assert row.named == classes[chances.argmax()]
        assert row.probability == chances.max()
        final = store.predictions("class").sel(sample=row.sample_id).values
        assert row.subject == classes[final.argmax()]
        assert row.subject_probability == chances[final.argmax()]
        assert row.subject_rank == 1 + (chances > chances[final.argmax()]).sum()


def test_any_classifier_of_torchvision_loads_from_a_file_of_its_weights(torchvision, tmp_path, pictures):
    torch.manual_seed(0)
    model = torchvision.models.squeezenet1_1(weights=None).eval()
    save_file(model.state_dict(), tmp_path / "squeeze.safetensors")
    torch.save(model.state_dict(), tmp_path / "squeeze.pth")
    first, second = (
        labelers.find(f"torchvision:squeezenet1_1:{tmp_path / name}", "cpu")
        for name in ("squeeze.safetensors", "squeeze.pth")
    )
    assert first.provenance == second.provenance
    assert len(first.provenance["classes"]) == 1000
    np.testing.assert_array_equal(first(pictures), second(pictures))
    with pytest.raises(InputError, match="lacks"):
        labelers.find(f"vgg16:{tmp_path / 'squeeze.pth'}")
    with pytest.raises(UnknownNameError, match="resnet50"):
        labelers.find("torchvision:resnet5O")


def test_googlenet_reads_pictures_as_it_was_trained_to(torchvision, tmp_path):
    model = torchvision.models.googlenet(weights=None, init_weights=False)
    torch.save(model.state_dict(), tmp_path / "googlenet.pth")
    assert labelers.find(f"torchvision:googlenet:{tmp_path / 'googlenet.pth'}", "cpu").model.transform_input


@pytest.mark.parametrize("offline", ["1", "0"])
def test_without_network_torchvisions_weights_are_named_with_the_command(torchvision, tmp_path, monkeypatch, offline):
    from urllib.error import URLError

    tried = []

    def unreachable(*_args, **_kwargs):
        tried.append(1)
        raise URLError("no route")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(InputError, match=r"with network: `python -c 'import torchvision"):
        labelers.find("torchvision:squeezenet1_1")
    assert len(tried) == (offline == "0")


def test_downloaded_weights_are_checked_and_used(torchvision, tmp_path, monkeypatch, pictures):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    model = torchvision.models.squeezenet1_1(weights=None).eval()
    kept = tmp_path / "hub" / "checkpoints" / entry.url.rpartition("/")[2]
    kept.parent.mkdir(parents=True)
    torch.save(model.state_dict(), kept)
    expected = Classifier(model, entry.transforms(), entry.meta["categories"], "cpu")(pictures)
    np.testing.assert_array_equal(labelers.find("torchvision:squeezenet1_1", "cpu")(pictures), expected)
    torch.save({"features.0.weight": Exploit()}, kept)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="hold more than tensors"):
        labelers.find("torchvision:squeezenet1_1", "cpu")
    assert not (tmp_path / "code-was-run").exists()


# --- stand-ins ---


def _package(monkeypatch, name: str, **contents) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def load_models(path, stage=4, device="cuda"):
    assert (path, device) == ("paper_weights", "cpu")
    torch.manual_seed(0)
    return {"ord_model": torch.nn.Conv2d(3, 1, 1), "iid_model": torch.nn.Conv2d(5, 1, 1)}


def run_gray_pipeline(
    models,
    img_arr,
    resize_conf=0.0,
    base_size=384,
    maintain_size=False,
    linear=False,
    device="cuda",
    lstsq_p=0.0,
    inputs="all",
):
    assert img_arr.dtype == np.float32
    assert 0 <= img_arr.min() <= img_arr.max() <= 1
    assert maintain_size
    return {"gry_shd": 1 / (1 + 3 * img_arr.mean(-1)), "gry_alb": img_arr}


@pytest.fixture
def intrinsic(monkeypatch):
    _package(monkeypatch, "intrinsic")
    return _package(monkeypatch, "intrinsic.pipeline", load_models=load_models, run_gray_pipeline=run_gray_pipeline)


def test_intrinsic_keeps_inverse_shading_that_its_transform_undoes(intrinsic, two):
    ldmscene.label(two, "shading", "intrinsic", device="cpu")
    kept = two.labels("shading")
    brightness = two.images().values.mean(-1) / 255
    undone = 1 / np.clip(kept.values, 0.001, 1) - 1
    np.testing.assert_allclose(undone, 3 * brightness, atol=1e-4)
    assert kept.attrs["transform"] == "s = 1 / clip(x, 0.001, 1) − 1"
    assert "academic" in kept.attrs["licence"]
    assert len(kept.attrs["weights"]) == 16


def test_intrinsic_of_another_size_is_refused(intrinsic, small):
    intrinsic.run_gray_pipeline = lambda models, image, **_: {"gry_shd": image[::2, :, 0]}
    with pytest.raises(ShapeError, match="Intrinsic gave shading"):
        ldmscene.label(small, "shading", "intrinsic", device="cpu")
    assert small.targets == []


def test_intrinsic_loads_weights_without_their_code_whatever_it_asks_for(intrinsic, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"ord_state_dict": Exploit()}, "weights.pt")
    intrinsic.load_models = lambda path, device: torch.load("weights.pt", weights_only=False)
    with pytest.raises(InputError, match="hold more than tensors"):
        ldmscene.label(small, "shading", "intrinsic", device="cpu")
    assert not (tmp_path / "code-was-run").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


class Session:
    """As rembg's sessions are: built by name, weights downloaded by the class, one mask for a picture."""

    local = True

    def __init__(self, model_name, sess_opts=None, *args, **kwargs):
        self.model_name = model_name

    def predict(self, img, *args, **kwargs):
        return [img.convert("L")]

    @classmethod
    def name(cls, *args, **kwargs):
        return "u2net"

    @classmethod
    def is_local(cls, *args, **kwargs):
        return cls.local

    @classmethod
    def download_models(cls, *args, **kwargs):
        return cls.file


class Remote(Session):
    local = False

    @classmethod
    def name(cls, *args, **kwargs):
        return "elsewhere"


def test_rembg_is_an_alternative_and_sends_no_picture_elsewhere(monkeypatch, tmp_path, two):
    Session.file = tmp_path / "u2net.onnx"
    Session.file.write_bytes(b"weights")
    _package(monkeypatch, "onnxruntime")
    _package(monkeypatch, "rembg", new_session=Session)
    _package(monkeypatch, "rembg.sessions", sessions_class=[Session, Remote])
    ldmscene.label(two, "mask", "rembg")
    grey = [np.asarray(Image.fromarray(image).convert("L")) for image in two.images().values]
    np.testing.assert_allclose(two.labels("mask"), np.stack(grey) / 255, atol=1e-6)
    with pytest.raises(UnknownNameError, match="nearest: u2net"):
        ldmscene.label(two, "other", "rembg:elsewhere")


class Custom(Session):
    @classmethod
    def name(cls, *args, **kwargs):
        return "dis_custom"

    @classmethod
    def download_models(cls, *args, model_path, **kwargs):
        return model_path


def test_rembg_takes_the_file_of_a_custom_model(monkeypatch, tmp_path, two):
    asked = {}
    Session.file = weights = tmp_path / "mine.onnx"
    weights.write_bytes(b"weights")
    _package(monkeypatch, "onnxruntime")
    _package(monkeypatch, "rembg", new_session=lambda name, **where: asked.update(where, name=name) or Custom(name))
    _package(monkeypatch, "rembg.sessions", sessions_class=[Session, Custom])
    ldmscene.label(two, "mask", f"rembg:dis_custom:{weights}")
    assert asked == {"name": "dis_custom", "model_path": str(weights)}
    with pytest.raises(InputError, match="expected 'rembg:dis_custom:FILE'"):
        ldmscene.label(two, "other", "rembg:dis_custom")
    with pytest.raises(InputError, match="u2net has weights of its own"):
        ldmscene.label(two, "other", f"rembg:u2net:{weights}")

    def elsewhere(*_, **__):
        raise ValueError("model_path must be within the models directory: /models")

    monkeypatch.setattr(Custom, "download_models", elsewhere)
    with pytest.raises(InputError, match=r"directory: /models; move .*mine\.onnx there, or set U2NET_HOME"):
        ldmscene.label(two, "other", f"rembg:dis_custom:{weights}")


def test_tensors_of_bfloat16_or_with_a_gradient_are_labels_too(two):
    def of_bfloat16(images):
        return torch.from_numpy(images.mean(-1)).to(torch.bfloat16)

    def with_a_gradient(images):
        return torch.nn.Parameter(torch.from_numpy(images.mean(-1)).float())

    ldmscene.label(two, "rounded", of_bfloat16)
    ldmscene.label(two, "learned", with_a_gradient)
    wanted = two.images().values.mean(-1)
    np.testing.assert_allclose(two.labels("learned"), wanted, rtol=1e-6)
    np.testing.assert_allclose(two.labels("rounded"), wanted, rtol=2**-8)


# --- what is missing ---


@pytest.mark.parametrize(
    ("name", "package", "command"),
    [
        ("tracer", "carvekit", r"pip install 'ldmscene\[tracer\]'"),
        ("vgg16", "torchvision", r"pip install 'ldmscene\[torchvision\]'"),
        ("intrinsic", "intrinsic", "compphoto/Intrinsic"),
        ("rembg", "onnxruntime", r"pip install 'ldmscene\[rembg\]'"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, small, name, package, command):
    for known in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("labelers")])
    monkeypatch.setitem(sys.modules, package, None)
    before = files(small.root)
    with pytest.raises(InputError, match=command):
        ldmscene.label(small, "target", name)
    assert files(small.root) == before


def test_a_package_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name, error in (("broken", "ImportError('no libGL')"), ("unmatched", "RuntimeError('no torchvision::nms')")):
        (tmp_path / f"{name}.py").write_text(f"raise {error}")
    with pytest.raises(InputError, match=r"broken can't be imported \(no libGL\); try `pip`"):
        need("broken", "pip")
    with pytest.raises(InputError, match="must be of one release and from one index"):
        need("unmatched", "pip")


def test_the_wrong_package_of_the_name_intrinsic_is_told(monkeypatch):
    _package(monkeypatch, "intrinsic")
    _package(monkeypatch, "intrinsic.pipeline")
    with pytest.raises(InputError, match="isn't Intrinsic by compphoto"):
        labelers.find("intrinsic")


def test_an_unknown_labeler_is_told_the_nearest():
    with pytest.raises(UnknownNameError, match="tracer"):
        labelers.find("tracr:x")


def test_every_line_of_the_table_leads_to_a_function():
    for entry in labelers.LABELERS.values():
        module, _, function = str(entry.load).partition(":")
        assert callable(getattr(import_module(module), function))
    assert {"vgg16", "torchvision"} == {e.name for e in labelers.LABELERS.values() if e.gives == "classification"}
