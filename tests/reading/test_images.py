"""Images of every depth, mode and orientation, against what they were made of."""

import contextlib
import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from dispersed import InputError
from dispersed.reading import open_source, read_states
from dispersed.reading.images import PIXELS

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.tiff", "a.PGM", "a.bmp", "a.gif", "a.webp", "a.pnm"])
def test_a_single_image_of_every_format_is_one_state(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    source = open_source(saved(tmp_path / name, GREY, **options))
    np.testing.assert_allclose(source.all(), GREY.reshape(1, -1) / 127.5 - 1, atol=1e-6)
    assert (source.shape, source.each, source.names) == ((1, 12), (3, 4), [name])
    assert "1 × 12 (3 × 4), 8-bit grey levels, 0 and 255 made −1 and 1, from -1 to 0.72549" in source.about()


def test_a_jpeg_is_read_to_its_precision(tmp_path):
    smooth = np.linspace(0, 255, 256).reshape(16, 16).astype(np.uint8)
    found = read_states(saved(tmp_path / "a.jpg", smooth, quality=95))
    np.testing.assert_allclose(found[0], smooth.ravel() / 127.5 - 1, atol=0.05)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_all_used(tmp_path, name):
    levels = np.array([[0, 1, 256], [32767, 32768, 65535]], np.uint16)
    found = read_states(saved(tmp_path / name, levels))
    np.testing.assert_allclose(found, levels.reshape(1, -1) / 32767.5 - 1, atol=1e-6)


def test_pgm_of_other_depths(tmp_path):
    (tmp_path / "a.pgm").write_text("P2\n2 2\n15\n0 5\n10 15\n")
    np.testing.assert_allclose(read_states(tmp_path / "a.pgm")[0], [-1, -1 / 3, 1 / 3, 1], atol=0.01)


@pytest.mark.parametrize(
    "levels", [GREY.astype(np.float32) / 220, GREY.astype(np.int32) * 10**6], ids=["floating", "32 bits"]
)
def test_levels_whose_black_and_white_are_unknown_need_a_scale(tmp_path, levels):
    path = saved(tmp_path / "a.tif", levels)
    with pytest.raises(InputError, match=r"a\.tif.* levels from 0 to .*--scale"):
        read_states(path)
    high = float(levels.max())
    np.testing.assert_allclose(read_states(path, scale=(0, high))[0], 2 * levels.ravel() / high - 1, atol=1e-6)
    np.testing.assert_allclose(read_states(path, scale="none")[0], levels.ravel(), rtol=1e-6)
    assert f"0 and {high:g} made −1 and 1" in open_source(path, scale=(0, high)).about()


def test_colours_palettes_and_one_bit(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    luma = colours @ [0.299, 0.587, 0.114] / 127.5 - 1
    np.testing.assert_allclose(read_states(saved(tmp_path / "c.png", colours))[0], luma.ravel(), atol=0.01)
    np.testing.assert_allclose(
        read_states(saved(tmp_path / "p.png", Image.fromarray(colours).quantize(256)))[0], luma.ravel(), atol=0.1
    )
    bits = np.array([[True, False, True]])
    assert read_states(saved(tmp_path / "b.png", bits)).tolist() == [[1, -1, 1]]
    assert read_states(saved(tmp_path / "b.pbm", bits)).tolist() == [[1, -1, 1]]


def alpha_images():
    grey, alpha = np.array([[0, 255, 100, 100]], np.uint8), np.array([[255, 255, 0, 51]], np.uint8)
    pair = [Image.fromarray(grey), Image.fromarray(alpha)]
    yield "LA", Image.merge("LA", pair)
    yield "RGBA", Image.merge("RGBA", [pair[0], pair[0], pair[0], pair[1]])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0)])
def test_transparent_parts_are_composed_on_the_background(tmp_path, mode, background, level):
    source = open_source(saved(tmp_path / "a.png", dict(alpha_images())[mode]), background=background)
    expected = np.array([0, 255, level, 0.2 * 100 + 0.8 * level]) / 127.5 - 1
    np.testing.assert_allclose(source.all()[0], expected, atol=0.01)
    assert f"transparent parts on {background}" in source.about()


def test_a_transparent_level_is_composed_too(tmp_path):
    path = saved(tmp_path / "a.png", np.array([[0, 9, 255]], np.uint8), transparency=9)
    assert read_states(path).tolist() == [[-1, 1, 1]]
    assert read_states(path, background="black").tolist() == [[-1, -1, 1]]
    opaque = saved(tmp_path / "o.png", Image.fromarray(GREY).convert("RGBA"))
    source = open_source(opaque)
    source.all()
    assert "parts on" not in source.about()


TURNED = {
    1: GREY,
    2: GREY[:, ::-1],
    3: GREY[::-1, ::-1],
    4: GREY[::-1],
    5: GREY.T,
    6: np.rot90(GREY, -1),
    7: GREY[::-1, ::-1].T,
    8: np.rot90(GREY),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_images_are_turned_as_their_exif_orientation_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    wanted = TURNED[orientation].astype(float)
    files = {
        "a.png": (GREY, {"exif": exif}),
        "16.png": (GREY.astype(np.uint16) * 257, {"exif": exif}),
        "alpha.png": (Image.fromarray(GREY).convert("RGBA").copy(), {"exif": exif}),
        "a.tif": (GREY, {"tiffinfo": {274: orientation}}),
        "16.tif": (GREY.astype(np.uint16) * 257, {"tiffinfo": {274: orientation}}),
        "lzw.tif": (GREY, {"tiffinfo": {274: orientation}, "compression": "tiff_lzw"}),
        "a.webp": (GREY, {"exif": exif, "lossless": True}),
    }
    for name, (image, options) in files.items():
        source = open_source(saved(tmp_path / name, image, **options))
        assert source.each == wanted.shape, name
        np.testing.assert_allclose(source.all()[0], wanted.ravel() / 127.5 - 1, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", ["a.tif", "a.gif"])
def test_pages_are_refused_unless_asked_for(tmp_path, name):
    pages = [Image.fromarray(np.full((3, 4), level, np.uint8)) for level in (0, 85, 255)]
    path = saved(tmp_path / name, pages[0], save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match=r"holds 3 pages; .*--pages"):
        read_states(path)
    source = open_source(path, pages=True)
    assert source.names == [f"{name} page {k}" for k in (1, 2, 3)]
    np.testing.assert_allclose(source.all(), np.repeat([[-1.0], [-1 / 3], [1.0]], 12, axis=1), atol=0.01)
    np.testing.assert_array_equal(source.read(1, 3), source.all()[1:])


def test_a_folder_is_read_in_natural_order_beside_other_files(tmp_path):
    for k in (10, 9, 2):
        saved(tmp_path / f"{k}.png", np.full((2, 2), k, np.uint8))
    saved(tmp_path / "b.TIF", np.full((2, 2), 11, np.uint8))
    (tmp_path / "._2.png").write_text("of a Macintosh")
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "notes.txt").write_text("")
    source = open_source(tmp_path)
    assert source.names == ["2.png", "9.png", "10.png", "b.TIF"]
    np.testing.assert_allclose((source.all()[:, 0] + 1) * 127.5, [2, 9, 10, 11], atol=1e-4)
    assert "'notes.txt' passed over" in source.about()


def broken_png(width, height):
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "png")
    content = bytearray(file.getvalue())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def test_bombs_and_damaged_images_are_one_line(tmp_path):
    for width, height in ((PIXELS, 2), (2**31 - 1, 2**31 - 1), (100_000, 100_000)):
        (tmp_path / "bomb.png").write_bytes(broken_png(width, height))
        with pytest.raises(InputError, match=r"bomb\.png.* (too many pixels|not a readable image)"):
            read_states(tmp_path / "bomb.png")
    (tmp_path / "bomb.png").unlink()
    whole = saved(tmp_path / "a.png", GREY).read_bytes()
    for cut in range(0, len(whole) - 20, 7):  # behind are a checksum and an empty piece
        (tmp_path / "a.png").write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"a\.png' is not a readable image"):
            read_states(tmp_path)


def test_folders_without_images_say_what_they_hold(tmp_path):
    with pytest.raises(InputError, match="holds no images; one file"):
        read_states(tmp_path)
    (tmp_path / "cats").mkdir()
    with pytest.raises(InputError, match="but the folders cats"):
        read_states(tmp_path)
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(InputError, match=r"but files of '\.npy'"):
        read_states(tmp_path)


def test_libtiff_does_not_write_past_python(tmp_path, capfd):
    whole = saved(tmp_path / "a.tif", GREY, compression="tiff_lzw").read_bytes()
    spoilt = [whole[:cut] for cut in range(20, len(whole), 30)]
    spoilt += [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(8, len(whole), 5)]
    for content in spoilt:
        for name in ("a.tif", "a.png"):
            (tmp_path / name).write_bytes(content)
            with contextlib.suppress(InputError):
                read_states(tmp_path / name)
    assert capfd.readouterr() == ("", "")
    for content in spoilt:
        with contextlib.suppress(Exception), warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")
            image.load()
    assert "TIFF" in capfd.readouterr().err, "what would have been written"
