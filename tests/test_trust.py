"""How far to trust a mask: what is said of scans that are unlike the training scans, and of unsure masks."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tiny_model import flair_kernel, lopsided_kernel, write_model
from tumorseg.datasets.phantom import phantom_patient
from tumorseg.errors import ModelError
from tumorseg.inference.model import Model, read_model, write_spec
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.trust import Packed, Usual, input_cautions, looked_at, portraits
from tumorseg.likeness import look_facts, order_facts, orders, reordered, turn_facts, turned
from tumorseg.portrait import Portrait, portrait
from tumorseg.recipe import Cleaning
from tumorseg.scan import Caution, Scan
from tumorseg.training.usual import learn_usual, with_head

CHANNELS = ("pre", "flair", "post")


def scan_of(index: int, *, slices: int = 9) -> Scan:
    patient = phantom_patient(3, index, slices=slices)
    return Scan(patient.id, patient.id, CHANNELS, lambda: patient.pixels)


@pytest.fixture(scope="module")
def usual() -> Usual:
    """What synthetic heads look like."""
    found = learn_usual([scan_of(index) for index in range(12)], CHANNELS)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def fresh() -> list[NDArray[np.uint8]]:
    """Synthetic heads that nothing was learned from."""
    return [scan_of(index).pixels for index in range(100, 106)]


def codes(pixels: NDArray[np.generic], usual: Usual) -> list[str]:
    return [caution.code for caution in input_cautions(pixels, usual, CHANNELS)]


def test_a_scan_like_the_training_scans_raises_no_warning(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    assert [codes(pixels, usual) for pixels in fresh] == [[]] * len(fresh)


def test_every_wrong_order_of_the_channels_is_named(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    for order in orders(3)[1:]:
        (caution,) = input_cautions(fresh[0][..., list(order)], usual, CHANNELS)
        assert caution.code == "order"
        right = " ".join(f"{name}={order.index(place)}" for place, name in enumerate(CHANNELS))
        assert caution.advice.endswith(f"--channels {right}")


@pytest.mark.parametrize(
    ("quarters", "words"), [(1, "a quarter turn anticlockwise"), (2, "upside down"), (3, "a quarter turn clockwise")]
)
def test_turned_slices_are_named_with_the_way_they_are_turned(
    usual: Usual, fresh: list[NDArray[np.uint8]], quarters: int, words: str
) -> None:
    (caution,) = input_cautions(np.rot90(fresh[1], quarters, axes=(1, 2)), usual, CHANNELS)
    assert caution.code == "turned" and words in caution.text


def test_a_mirror_image_is_no_reason_to_warn(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    assert codes(fresh[2][:, :, ::-1], usual) == []


def test_a_replaced_sequence_is_no_wrong_order(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    assert "order" not in codes(fresh[3][..., [1, 1, 2]], usual)
    assert "order" not in codes(fresh[3][..., [0, 1, 1]], usual)


def test_inverted_brightness_noise_and_what_is_no_head_are_told(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    assert codes(255 - fresh[4], usual) == ["inverted"]
    random = np.random.default_rng(0)
    assert codes(random.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8), usual) != []
    rows, columns = np.mgrid[:96, :128]
    stripes = np.stack([127 + 120 * np.sin(rows / 3 + columns / (5 + each)) for each in range(3)], axis=-1)
    assert codes(np.repeat(stripes[None].astype(np.uint8), 8, axis=0), usual) != []
    assert codes(np.zeros((1, 64, 64, 3), np.uint8), usual) == ["blank"]


def test_one_sequence_on_a_grey_background_is_no_wrong_order(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    """As phase-sensitive T1 has it."""
    pixels = fresh[0].copy()
    pixels[..., 0] = 100 + pixels[..., 0] * 0.6
    assert codes(pixels, usual) == []
    plain, grey = (portrait(frame[4] / np.float32(255)) for frame in (fresh[0], pixels))
    assert plain is not None and grey is not None
    assert grey.grey and not plain.grey
    assert grey.fringe[0] < 0.05
    assert portrait(np.asarray(1 - fresh[0][4] / np.float32(255), np.float32)).grey is False


def test_a_slice_whose_background_seems_to_be_head_does_not_speak_for_the_scan(
    usual: Usual, fresh: list[NDArray[np.uint8]]
) -> None:
    pixels = fresh[1].copy()
    at = looked_at(len(pixels))
    pixels[at[-1]] = np.maximum(pixels[at[-1]], 90)
    seen = portraits(pixels)
    assert len(seen) >= len(portraits(fresh[1])) - 1
    assert max(one.area for one in seen) < 0.9
    assert codes(pixels, usual) == []


def test_a_slice_beyond_the_vertex_is_not_learned_as_a_head(fresh: list[NDArray[np.uint8]]) -> None:
    pixels = fresh[2].copy()
    assert with_head(pixels).all()
    pixels[-1] = np.random.default_rng(0).integers(0, 6, pixels.shape[1:])
    # By itself its noise is as bright as a head.
    (alone,) = portraits(pixels[-1:])
    assert alone.area > 0.5
    assert with_head(pixels).tolist() == [True] * (len(pixels) - 1) + [False]


def test_the_first_and_the_last_slice_of_a_scan_are_learned_for_lone_slices() -> None:
    def half_a_head_at_the_ends(index: int) -> Scan:
        scan = scan_of(index, slices=11)
        pixels = scan.pixels.copy()
        for end in (0, -1):
            pixels[end] = scan.pixels[5]
            pixels[end, : pixels.shape[1] // 2] = 0
        return replace(scan, read_pixels=lambda: pixels)

    usual = learn_usual([half_a_head_at_the_ends(index) for index in range(12)], CHANNELS)
    assert usual is not None
    heads = [half_a_head_at_the_ends(index).pixels for index in range(100, 106)]
    assert [codes(pixels[[end]], usual) for pixels in heads for end in (0, -1)] == [[]] * 12


def test_one_volume_among_lone_slices_is_enough_to_learn_from() -> None:
    scans = [scan_of(index, slices=9 if index == 0 else 1) for index in range(12)]
    usual = learn_usual(scans, CHANNELS)
    assert usual is not None
    assert "any scan" in usual.false_alarms
    assert np.isfinite(usual.look.array).all() and np.isfinite(usual.axes.array).all()


def test_other_units_and_sizes_change_nothing_that_is_said(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    assert codes(fresh[5].astype(np.float32) * 37.5 - 1000, usual) == []
    assert codes(np.repeat(np.repeat(fresh[5], 2, axis=1), 2, axis=2), usual) == []


def test_a_lone_slice_of_a_turned_scan_is_found_too(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    middle = fresh[0][4:5]
    assert codes(middle, usual) == []
    assert codes(np.rot90(middle, 1, axes=(1, 2)), usual) == ["turned"]


def test_what_was_learned_of_other_channels_is_refused(usual: Usual, fresh: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(ModelError, match="other channels"):
        input_cautions(fresh[0][..., :2], usual, CHANNELS[:2])


def test_an_odd_training_scan_does_not_keep_wrong_orders_from_being_found() -> None:
    from tumorseg.training import usual as learning

    random = np.random.default_rng(0)

    def scores(lead: float) -> NDArray[np.float64]:
        return random.normal([0, -4, -4], 0.3, (8, 3)) + np.array([0, lead, 0])

    class One:
        patient = "one"

    ordinary = {One(): scores(0) for _ in range(50)}
    odd = One()
    found = learning._odd_ones([*ordinary, odd], {"order": {**ordinary, odd: scores(40)}})  # type: ignore[list-item, dict-item]
    assert found == {odd}
    many = {One(): scores(40) for _ in range(5)}
    assert learning._odd_ones([*ordinary, *many], {"order": {**ordinary, **many}}) == set()  # type: ignore[list-item, dict-item]


def test_few_patients_teach_nothing() -> None:
    assert learn_usual([scan_of(index, slices=1) for index in range(2)], CHANNELS) is None


def test_what_was_learned_passes_through_model_json(
    tmp_path: Path, usual: Usual, fresh: list[NDArray[np.uint8]]
) -> None:
    folder = write_model(tmp_path, usual=usual)
    read = read_model(folder).spec.usual
    assert read == usual
    pixels = np.rot90(fresh[0], 1, axes=(1, 2))
    answer = Predictor(read_model(folder)).segment(Scan("a", "a", CHANNELS, lambda: pixels))
    assert [caution.code for caution in answer.warnings if caution.code != "unsure"] == ["turned"]


def test_a_damaged_pack_of_numbers_is_refused(tmp_path: Path, usual: Usual) -> None:
    folder = write_model(tmp_path, usual=usual)
    values = json.loads((folder / "model.json").read_text())
    for damage in ({"shape": [7, 7]}, {"base64": "!!"}):
        broken = {**values, "usual": {**values["usual"], "axes": {**values["usual"]["axes"], **damage}}}
        (folder / "model.json").write_text(json.dumps(broken))
        with pytest.raises(ModelError, match=r"usual\.axes"):
            read_model(folder)


def test_models_without_input_checks_still_segment(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    values = json.loads((folder / "model.json").read_text())
    del values["usual"]
    (folder / "model.json").write_text(json.dumps(values))
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    answer = Predictor(read_model(folder)).segment(Scan("a", "a", CHANNELS, lambda: pixels))
    assert [caution.code for caution in answer.warnings] == ["empty"]


def test_undoing_an_order_or_a_turn_gives_the_portrait_back() -> None:
    one = portrait(scan_of(0).pixels[4].astype(np.float32) / 255)
    assert one is not None
    for quarters in range(4):
        again = turned(turned(one, quarters), 4 - quarters)
        np.testing.assert_array_equal(again.head, one.head)
        np.testing.assert_allclose(turn_facts(turned(one, quarters))[0], turn_facts(one)[quarters], atol=1e-6)
    for place, order in enumerate(orders(3)):
        np.testing.assert_allclose(order_facts(reordered(one, order))[0], order_facts(one)[place], atol=1e-6)
    assert look_facts(one).shape == look_facts(turned(one, 1)).shape


def test_a_portrait_does_not_depend_on_the_frame_around_the_head() -> None:
    frame = scan_of(1).pixels[4].astype(np.float32) / 255
    small, large = portrait(frame), portrait(np.pad(frame, ((0, 0), (0, 0), (0, 0))))
    assert isinstance(small, Portrait) and isinstance(large, Portrait)
    np.testing.assert_array_equal(small.head, large.head)
    assert portrait(np.zeros((64, 64, 3), np.float32)) is None


def test_slices_that_are_looked_at_lie_within_the_scan() -> None:
    for count in (1, 2, 5, 6, 7, 30, 600):
        places = looked_at(count)
        assert places == tuple(sorted(set(places))) and places[0] >= 0 and places[-1] < count


def test_a_caution_is_a_line_with_a_code_that_survives_pickling() -> None:
    caution = Caution("turned", "it is turned", "turn it back")
    assert caution == "it is turned; turn it back" and Caution("empty", "nothing") == "nothing"
    again = pickle.loads(pickle.dumps(caution))
    assert again.as_json() == {"code": "turned", "text": "it is turned", "advice": "turn it back"}
    assert again.reworded(str.upper).text == "IT IS TURNED" and again.code == "turned"


def test_packed_numbers_come_back() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(Packed.of(values).array, values, rtol=1e-6)


def test_mirror_images_agree_with_a_network_that_sees_no_sides_and_disagree_with_one_that_does(tmp_path: Path) -> None:
    pixels = scan_of(0).pixels
    found = {}
    for name, kernel in (("even", flair_kernel()), ("lopsided", lopsided_kernel())):
        folder = write_model(
            tmp_path / name, kernel=kernel, test_time_flips=("horizontal",), bias=np.zeros(1, np.float32)
        )
        found[name] = Predictor(read_model(folder)).segment(Scan("a", "a", CHANNELS, lambda: pixels)).measurements
    assert found["even"]["flip_disagreement"] == pytest.approx(0, abs=1e-3)
    assert found["lopsided"]["flip_disagreement"] > 0.02
    plain = Predictor(read_model(write_model(tmp_path / "plain"))).segment(Scan("a", "a", CHANNELS, lambda: pixels))
    assert "flip_disagreement" not in plain.measurements


def test_a_mask_of_undecided_pixels_is_called_unsure_and_a_certain_one_is_not(tmp_path: Path) -> None:
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[0, 20:40, 20:40] = 200
    for temperature, expected in ((1.0, []), (200.0, ["unsure"])):
        folder = write_model(tmp_path / str(temperature), temperature=temperature)
        answer = Predictor(read_model(folder)).segment(Scan("a", "a", CHANNELS, lambda: pixels))
        assert [caution.code for caution in answer.warnings] == expected
        assert 0 <= answer.measurements["expected_dice"] <= 1


def test_the_temperature_that_is_fitted_undoes_one_that_was_wrong(tmp_path: Path) -> None:
    from tumorseg.training.calibration import fit_temperature

    random = np.random.default_rng(1)
    model = read_model(write_model(tmp_path, test_time_flips=("horizontal",)))
    pixels = np.zeros((4, 64, 64, 3), np.uint8)
    pixels[:, 8:56, 8:56] = random.integers(60, 256, (4, 48, 48, 1))
    plain = Predictor(model).probabilities(Scan("a", "a", CHANNELS, lambda: pixels)).astype(np.float64)
    logits = np.log(np.clip(plain, 1e-6, 1 - 1e-4) / (1 - np.clip(plain, 1e-6, 1 - 1e-4)))
    truth = (random.random(logits.shape) < 1 / (1 + np.exp(-logits / 3))).astype(np.uint8)
    scan = Scan("a", "a", CHANNELS, lambda: pixels, lambda: truth)
    assert fit_temperature(model, [scan]) == pytest.approx(3, rel=0.1)


def test_cleaning_is_chosen_only_where_patients_agree_that_it_helps(tmp_path: Path) -> None:
    from tumorseg.training.choices import choose

    model = read_model(write_model(tmp_path))

    def patient(index: int, *, specks: bool) -> Scan:
        random = np.random.default_rng(index)
        pixels = np.zeros((6, 64, 64, 3), np.uint8)
        reference = np.zeros((6, 64, 64), np.uint8)
        reference[1:5, 20:40, 20 : 30 + index] = 1
        pixels[reference > 0] = 200
        if specks:
            for row, column in random.integers(0, 8, (40, 2)):
                pixels[random.integers(6), 42 + 2 * row, 2 * column] = 200
        return Scan(f"p{index}", f"p{index}", CHANNELS, lambda: pixels, lambda: reference)

    clean = choose(Predictor(model), [patient(index, specks=False) for index in range(5)], cleaning=True)
    assert clean.cleaning is not None and clean.cleaning.min_component_voxels == 0 and not clean.cleaning.fill_holes
    dirty = choose(Predictor(model), [patient(index, specks=True) for index in range(5)], cleaning=True)
    assert dirty.cleaning is not None and dirty.cleaning.min_component_voxels >= 10
    assert choose(Predictor(model), [patient(0, specks=True)], cleaning=False).cleaning is None
    own = Cleaning(min_component_slices=2, min_component_share=0.2, min_component_voxels=7)
    thick = Model(model.spec.model_copy(update={"postprocessing": own}), model.folder)
    kept = choose(Predictor(thick), [patient(index, specks=False) for index in range(5)], cleaning=True).cleaning
    assert kept == Cleaning(min_component_slices=2, min_component_share=0.2)


def test_a_spec_keeps_what_it_was_given(tmp_path: Path, usual: Usual) -> None:
    model = read_model(write_model(tmp_path))
    write_spec(tmp_path, model.spec.model_copy(update={"usual": usual, "temperature": 1.7}))
    again = read_model(tmp_path).spec
    assert again.usual is not None and again.temperature == 1.7
    assert replace(scan_of(0)).channels == CHANNELS
