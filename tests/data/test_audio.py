"""Sound: features against what they must be, changes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_rnn.data import audio
from tinygrad_rnn.data.audio.features import mel
from tinygrad_rnn.errors import ArgumentError, DataError, ShapeError

RATE = 8000


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


# ------------------------------------------------------------------------------------- features
def test_frames_are_whole_and_hop_apart() -> None:
    framed = audio.frames(np.arange(20.0), 6, 4)
    assert framed.shape == (1 + (20 - 6) // 4, 6)
    np.testing.assert_array_equal(framed[:, 0], [0, 4, 8, 12])
    np.testing.assert_array_equal(framed[3], np.arange(12.0, 18.0))


def test_parseval() -> None:
    """The spectrum holds the energy of the windowed samples."""
    framed = np.random.default_rng(0).standard_normal((3, 200))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)
    power = audio.power_spectrum(framed, 256)
    both_sides = power.sum(axis=1) + power[:, 1:-1].sum(axis=1)
    energy = ((framed * hann) ** 2).sum(axis=1)
    np.testing.assert_allclose(both_sides, 256 * energy / (hann**2).sum(), rtol=1e-12)


def test_white_noise_is_flat_at_its_variance() -> None:
    noise = 3 * np.random.default_rng(0).standard_normal(200_000)
    power = audio.power_spectrum(audio.frames(noise, 200, 200), 256).mean(axis=0)
    np.testing.assert_allclose(power[2:-2], 9, rtol=0.2)
    np.testing.assert_allclose(power.mean(), 9, rtol=0.02)


def test_a_cosine_of_k_periods_fills_three_lines() -> None:
    """The Hann window's transform is ½, −¼, −¼ of the length: P = (W/4)² and (W/8)² over ⅜ W."""
    width, k = 64, 10
    power = audio.power_spectrum(np.cos(2 * np.pi * k * np.arange(width) / width)[None])[0]
    expected = np.zeros(33)
    expected[[k - 1, k, k + 1]] = np.array([1 / 64, 1 / 16, 1 / 64]) * width / 0.375
    np.testing.assert_allclose(power, expected, atol=1e-12)


def test_filters_add_up_to_one_between_the_outer_centres() -> None:
    filters = audio.mel_filters(RATE, 1024, 20, low=100, high=3800)
    hertz = np.arange(513) * RATE / 1024
    centres = np.linspace(mel(100), mel(3800), 22)[1:-1]
    inside = (mel(hertz) >= centres[0]) & (mel(hertz) <= centres[-1])
    np.testing.assert_allclose(filters.sum(axis=1)[inside], 1, rtol=1e-12)
    outside = (hertz <= 100) | (hertz >= 3800)
    np.testing.assert_array_equal(filters[outside], 0)
    assert ((filters > 0).sum(axis=1) <= 2).all()


def test_mel_is_the_formula_of_htk() -> None:
    np.testing.assert_allclose(mel([0, 700, 6300]), [0, 2595 * np.log10(2), 2595], rtol=1e-12)
    assert abs(float(mel(1000)) - 1000) < 0.1


@pytest.mark.parametrize("band", [3, 17, 30, 37])
def test_a_tone_peaks_in_its_filter(band: int) -> None:
    features = audio.LogMel(RATE, mels=40)
    centre = np.linspace(0, mel(RATE / 2), 42)[band + 1]
    hertz = 700 * (10 ** (centre / 2595) - 1)
    assert (features(tone(hertz)).argmax(axis=1) == band).all()


@pytest.mark.parametrize("warp", [0.85, 1.0, 1.15])
def test_a_warp_moves_a_tone_as_another_vocal_tract_would(warp: float) -> None:
    features = audio.LogMel(RATE, mels=30)
    moved = features(tone(1000), warp=warp).mean(axis=0)
    assert moved.argmax() == features(tone(1000 * warp)).mean(axis=0).argmax()


def test_a_warp_keeps_the_ends_of_the_scale() -> None:
    for warp in (0.8, 1.2):
        filters = audio.mel_filters(RATE, 512, 10, warp=warp)
        np.testing.assert_allclose(filters[[0, -1]], 0, atol=1e-12)
        assert (filters[1:-1].sum(axis=1) > 0).all()


def test_a_hop_later_is_a_frame_later() -> None:
    features, noise = audio.LogMel(RATE), np.random.default_rng(0).standard_normal(4000)
    here, later = features(noise), features(noise[features.hop_samples :])
    np.testing.assert_array_equal(here[1:], later)


def test_silence_is_the_floor_and_loudness_an_offset() -> None:
    features, noise = audio.LogMel(RATE), np.random.default_rng(0).standard_normal(4000)
    np.testing.assert_array_equal(features(np.zeros(4000)), np.float32(np.log(1e-8)))
    np.testing.assert_allclose(features(10 * noise) - features(noise), np.log(100), atol=1e-4)
    loud = features(noise) > 0
    apart = features(3e-3 * noise)[loud] - features(noise)[loud]
    np.testing.assert_allclose(apart, np.log(9e-6), atol=1e-4)  # the floor is no addition


def test_a_tempo_changes_the_frames_alone() -> None:
    features, sound = audio.LogMel(RATE), tone(800, 1.0)
    fast = features(sound, tempo=2.0)
    assert len(fast) == -(-len(features(sound)) // 2)
    np.testing.assert_array_equal(fast, features(sound)[::2])


def test_cepstra_are_orthonormal_and_split_shape_from_level() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 16))
    whole = audio.cepstra(rows, 16)
    np.testing.assert_allclose((whole**2).sum(axis=1), (rows**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(audio.cepstra(rows + 5, 16)[:, 1:], whole[:, 1:], atol=1e-12)
    wave = np.cos(np.pi / 16 * (np.arange(16) + 0.5) * 3)
    np.testing.assert_allclose(audio.cepstra(wave[None], 5)[0], [0, 0, 0, np.sqrt(8), 0], atol=1e-9)


def test_deltas_are_slopes() -> None:
    steps = np.arange(12.0)[:, None]
    lines = np.hstack([2 * steps, 5 - 3 * steps, 0 * steps + 4])
    found = audio.deltas(lines, reach=3)
    np.testing.assert_allclose(found[3:-3], np.tile([2, -3, 0], (6, 1)), atol=1e-12)
    assert found.shape == lines.shape
    np.testing.assert_allclose(found[0], [2 * (1 + 4 + 9) / 28, -3 * 14 / 28, 0])


def test_normalize_is_of_one_utterance() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 3)) * [1, 10, 0] + [3, -100, 0.1]
    found = audio.normalize(rows)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(audio.normalize(rows * 7 - 3), found, atol=1e-9)
    np.testing.assert_allclose(audio.normalize(rows * 2.0**-60), found, atol=1e-12)  # quiet


RNG = np.random.default_rng(0)
BAD = {
    "short": (lambda: audio.LogMel(RATE)(np.zeros(10)), DataError, "200 samples"),
    "stereo": (lambda: audio.LogMel(RATE)(np.zeros((9, 2))), ShapeError, "one channel"),
    "nan": (lambda: audio.LogMel(RATE)([np.nan] * 999), DataError, "finite"),
    "rate": (lambda: audio.LogMel(0), ArgumentError, "rate"),
    "mels": (lambda: audio.LogMel(RATE, mels=2.5), ArgumentError, "mels"),
    "two speeds": (lambda: audio.change_speed(np.zeros((9, 2)), 1.1), ShapeError, "one channel"),
    "no speed": (lambda: audio.change_speed([], 1.1), ShapeError, "N >= 1"),
    "joined": (lambda: audio.join([np.zeros((9, 2))], 8, RNG), ShapeError, "one channel"),
    "masked": (lambda: audio.mask(np.zeros(9, np.float32), RNG), ShapeError, r"\(T, M\)"),
    "hop": (lambda: audio.LogMel(RATE, hop=0), ArgumentError, "hop"),
    "tiny hop": (lambda: audio.LogMel(RATE, hop=1e-9), ArgumentError, "hop"),
    "floor": (lambda: audio.LogMel(RATE, floor=0), ArgumentError, "floor"),
    "bands": (lambda: audio.LogMel(RATE, mels=200), ArgumentError, "filter 0 holds none"),
    "order": (lambda: audio.LogMel(RATE, low=3000, high=100), ArgumentError, "low < high"),
    "beyond": (lambda: audio.LogMel(RATE, high=5000), ArgumentError, "rate / 2"),
    "warp": (lambda: audio.mel_filters(RATE, 256, 20, warp=3), ArgumentError, "warp"),
    "tempo": (lambda: audio.LogMel(RATE)(np.zeros(999), tempo=0), ArgumentError, "tempo"),
    "n_fft": (lambda: audio.power_spectrum(np.ones((1, 8)), 4), ArgumentError, "n_fft >= 8"),
    "cepstra": (lambda: audio.cepstra(np.ones((1, 4)), 5), ArgumentError, "count <= 4"),
    "reach": (lambda: audio.deltas(np.ones((4, 1)), 0), ArgumentError, "reach"),
    "speed": (lambda: audio.change_speed([1.0], 0), ArgumentError, "factor > 0"),
    "amount": (lambda: audio.tilt([1.0], 2), ArgumentError, "amount"),
    "colour": (
        lambda: audio.add_noise([1.0], 2, np.random.default_rng(0), 2), ArgumentError, "color",
    ),
    "share": (lambda: audio.trim([1.0], np.random.default_rng(0), 0.5), ArgumentError, "share"),
    "pauses": (
        lambda: audio.join([[1.0]], 8, np.random.default_rng(0), shortest=2, longest=1),
        ArgumentError, "shortest <= longest",
    ),
    "nothing": (lambda: audio.join([], 8, np.random.default_rng(0)), DataError, "recording"),
    "digit": (
        lambda: audio.speak_digit(10, audio.Voice(100, 1, 1, 0), np.random.default_rng(0)),
        ArgumentError, "digit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_named(name: str) -> None:
    call, error, words = BAD[name]
    with pytest.raises(error, match=words):
        call()


# --------------------------------------------------------------------------------- augmentation
def test_speed_moves_a_tone() -> None:
    fast = audio.change_speed(tone(500), 1.25)
    assert len(fast) == 3200
    assert np.abs(np.fft.rfft(fast)).argmax() == 625 * len(fast) // RATE


def test_noise_is_as_loud_as_asked() -> None:
    noise = audio.add_noise(tone(500), 10, np.random.default_rng(0)) - tone(500)
    assert abs(10 * np.log10(0.5 / (noise**2).mean()) - 10) < 0.2
    np.testing.assert_array_equal(audio.add_noise(np.zeros(9), 10, np.random.default_rng(0)), 0)


@pytest.mark.parametrize("color", [-0.9, 0.5])
def test_coloured_noise_is_as_loud_and_as_tilted_as_asked(color: float) -> None:
    voice = tone(500, seconds=10)
    noise = audio.add_noise(voice, 10, np.random.default_rng(0), color) - voice
    assert abs(10 * np.log10(0.5 / (noise**2).mean()) - 10) < 0.2
    beside = (noise[1:] * noise[:-1]).mean() / (noise**2).mean()
    assert beside == pytest.approx(color / (1 + color**2), abs=0.02)


def test_trimming_takes_at_most_the_share_off_each_end_and_often_nothing() -> None:
    cut = [audio.trim(np.arange(100), np.random.default_rng(seed), 0.3) for seed in range(200)]
    for left in cut:
        np.testing.assert_array_equal(np.diff(left), 1)
    front, back = np.array([(x[0], 99 - x[-1]) for x in cut]).T
    for off in (front, back):
        assert off.min() == 0 and off.max() in (28, 29)
        assert 0.35 < (off == 0).mean() < 0.65
    np.testing.assert_array_equal(audio.trim([1.0], np.random.default_rng(0)), 1)


def test_tilt_is_the_filter_it_says() -> None:
    for hertz in (200, 3000):
        gain = (audio.tilt(tone(hertz), 0.7)[1:] ** 2).mean() / (tone(hertz)[1:] ** 2).mean()
        assert gain == pytest.approx(1 + 0.49 + 1.4 * np.cos(2 * np.pi * hertz / RATE), rel=0.01)


def test_a_mask_covers_bands_and_steps_and_leaves_the_original() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 20)).astype(np.float32)
    before = rows.copy()
    masked = [audio.mask(rows, np.random.default_rng(s), bands=5, steps=9) for s in range(50)]
    np.testing.assert_array_equal(rows, before)
    hidden = [found == rows.mean() for found in masked]
    assert max(h.all(axis=0).sum() for h in hidden) == 5
    assert max(h.all(axis=1).sum() for h in hidden) == 9
    assert min(h.sum() for h in hidden) == 0
    for found, h in zip(masked, hidden, strict=True):
        np.testing.assert_array_equal(found[~h], rows[~h])


def test_joined_recordings_keep_their_samples() -> None:
    parts = [np.full(5, 0.5), np.full(7, -0.5)]
    joined = audio.join(parts, 100, np.random.default_rng(0), shortest=0.1, longest=0.2, noise=0)
    assert (joined == 0.5).sum() == 5 and (joined == -0.5).sum() == 7
    assert 12 + 3 * 10 <= len(joined) <= 12 + 3 * 20
    assert joined[0] == joined[-1] == 0


# ------------------------------------------------------------------------------- spoken digits
def test_a_voice_has_the_pitch_and_the_formants_it_was_given() -> None:
    """The vowel of 'two' is low, that of 'three' has a part above 2 kHz."""
    rng = np.random.default_rng(0)
    voice = audio.Voice(pitch=125.0, tract=1.0, tempo=0.7, breath=0.0)
    two, three = (audio.speak_digit(digit, voice, rng)[-1200:-200] for digit in (2, 3))
    spectra = [np.abs(np.fft.rfft(x * np.hanning(1000))) ** 2 for x in (two, three)]
    high = [s[250:].sum() / s[:150].sum() for s in spectra]  # lines of 8 Hz
    assert high[1] > 3 * high[0]
    repeats = np.correlate(two, two, "full")[1000:][30:100].argmax() + 31
    assert RATE / repeats == pytest.approx(125 * 0.95, rel=0.15)


def test_digits_differ_and_repeat_by_seed() -> None:
    def spoken(seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        voice = audio.random_voice(rng)
        return [audio.speak_digit(digit, voice, rng) for digit in range(10)]

    for here, again, other in zip(spoken(0), spoken(0), spoken(1), strict=True):
        np.testing.assert_array_equal(here, again)
        assert here.shape != other.shape or not np.array_equal(here, other)
        assert np.abs(here).max() == pytest.approx(0.5) and here.dtype == np.float32
