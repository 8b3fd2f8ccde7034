"""Writes the Parquet files and WebP images of the tests, as the Hugging Face hub has them.

    pip install pyarrow==26.0.1 pillow==13.0.0 numpy
    python tests/parity/parquet.py tests/fixtures

`parquet/images` has the images of the rows, of which row 4 is that of row 1. The WebP images are in `images`, where
`pixels.json` has what Pillow decodes.
"""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from PIL import Image, ImageOps

folder = Path(sys.argv[1]) / "parquet"
(folder / "images").mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(5)


def encoded(pixels, form, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def small(i):
    pixels = np.zeros((6, 6, 3), "uint8")
    pixels[..., 0] = i * 20
    pixels[..., 1] = np.arange(6) * 40
    pixels[2, 3] = rng.integers(0, 256, 3)
    return encoded(pixels, "PNG")


def other(i, form, **options):
    y, x = np.mgrid[0:8, 0:8]
    return encoded(np.stack([x * 30, y * 30, x * 0 + i * 20], -1).astype("uint8"), form, **options)


turned = Image.Exif()
turned[0x112] = 6
files = [small(i) for i in range(9)]
files += [other(9, "JPEG", quality=80, exif=turned), other(10, "WEBP", lossless=True), small(11)]
files[4] = files[1]
names = [f"{i:02}.png" for i in range(9)] + ["09.jpg", "10.webp", "11.png"]
for name, content in zip(names, files):
    (folder / "images" / name).write_bytes(content)
labels = [2, 0, 1, 1, 0, 2, 2, 1, 0, 0, 1, 2]
classes = ["ant", "bee", "cat"]
embeddings = [[float(i), i / 2, -1.0] for i in range(12)]
features = {"image": {"_type": "Image"}, "label": {"names": classes, "_type": "ClassLabel"}}
hub = {"huggingface": json.dumps({"info": {"features": features}})}
image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def images(contents):
    return pa.array([{"bytes": content, "path": ""} for content in contents], image)


def table(rows, more=True):
    columns = {"image": images(files[r] for r in rows), "label": pa.array([labels[r] for r in rows], pa.int64())}
    if more:
        columns["text"] = pa.array([f"a caption {r}" for r in rows], pa.string())
        columns["embedding"] = pa.array([embeddings[r] for r in rows], pa.list_(pa.float32()))
        columns["score"] = pa.array([r / 4 for r in rows], pa.float64())
    return pa.table(columns).replace_schema_metadata(hub)


def write(name, rows, **options):
    pq.write_table(rows, folder / f"{name}.parquet", **options)


every = range(12)
pages = {"data_page_size": 600, "write_batch_size": 2}
# By default the images are compressed by snappy and in a dictionary, also on the hub.
write("train-00000-of-00002", table(every[:7]), row_group_size=3, write_page_index=True)
write("train-00001-of-00002", table(every[7:]), row_group_size=3)
write("plain", table(every), compression="none", use_dictionary=False, **pages)
write("zstd_v2", table(every), compression="zstd", data_page_version="2.0", row_group_size=5, write_page_checksum=True)
write("gzip", table(every), compression="gzip", use_dictionary=["label"], **pages)
write("snappy_v2", table(every), use_dictionary=False, data_page_version="2.0", **pages)
lengths = {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY", "image.path": "PLAIN", "label": "DELTA_BINARY_PACKED"}
write("lengths", table(every, more=False), use_dictionary=False, column_encoding=lengths)
write("brotli", table(every[:2], more=False), compression="brotli")
gaps = pa.array([{"bytes": files[0]}, None, {"bytes": None, "path": "x.png"}, {"bytes": files[3]}], image)
write("missing", pa.table({"image": gaps, "label": pa.array([0, 1, None, 1], pa.int32())}))
ids, words = pa.array(["x", "y", "z"]), pa.array(["dog", "cat", "dog"])
write("binary", pa.table({"id": ids, "jpg": pa.array(files[:3], pa.binary()), "cls": words}))
write("two", pa.table({"before": pa.array(files[:2], pa.binary()), "after": pa.array(files[2:4], pa.binary())}))
lists = pa.array([[{"bytes": files[0], "path": ""}], []], pa.list_(image))
write("lists", pa.table({"images": lists, "label": pa.array([0, 1])}))
write("none", pa.table({"text": pa.array(["a"]), "n": pa.array([1.5])}))
write("empty", table([]))
unlabeled = pa.table({"image": images(files[:1]), "label": pa.array([-1])})
write("unlabeled", unlabeled.replace_schema_metadata(hub))
flat = [np.full((130, 128, 3), 40 * i + 20, "uint8") for i in range(5)]
flat = images(encoded(pixels, "PNG", compress_level=0) for pixels in flat)
write("blocks", pa.table({"image": flat}), use_dictionary=False)
# What pyarrow reads back must be the bytes of the files.
for name in ["plain", "zstd_v2", "gzip", "snappy_v2", "lengths"]:
    column = pq.read_table(folder / f"{name}.parquet").column("image").to_pylist()
    assert [row["bytes"] for row in column] == files, name


class Keys(pe.KmsClient):
    def __init__(self, config):
        pe.KmsClient.__init__(self)

    def wrap_key(self, key, name):
        return base64.b64encode(key)

    def unwrap_key(self, key, name):
        return base64.b64decode(key)


for name, plain in [("encrypted", False), ("encrypted_columns", True)]:
    settings = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["label"]}, plaintext_footer=plain)
    factory = pe.CryptoFactory(Keys)
    encryption = factory.file_encryption_properties(pe.KmsConnectionConfig(), settings)
    rows = table(every[:2], more=False)
    with pq.ParquetWriter(folder / f"{name}.parquet", rows.schema, encryption_properties=encryption) as writer:
        writer.write_table(rows)
(folder / "expected.json").write_text(json.dumps({"labels": labels}))

# WebP images with what Pillow decodes.
place = Path(sys.argv[1]) / "images"
y, x = np.mgrid[0:14, 0:18]
rgb = np.stack([x * 13, y * 17, (x * y) % 256], -1).astype("uint8")
noisy = np.clip(rgb.astype(int) + np.random.default_rng(0).integers(-6, 7, rgb.shape), 0, 255).astype("uint8")
opacity = np.clip(x * 20 - 40, 0, 255).astype("uint8")
flat, clear = Image.fromarray(rgb), Image.fromarray(np.dstack([rgb, opacity]))
flat.save(place / "lossy.webp", quality=80)
Image.fromarray(noisy).save(place / "lossless.webp", lossless=True)
clear.save(place / "alpha.webp", quality=80)
clear.save(place / "lossless_alpha.webp", lossless=True)
flat.save(place / "turned.webp", lossless=True, exif=turned)
flat.save(place / "animated.webp", save_all=True, append_images=[flat.rotate(90)], duration=50, lossless=True)
known = json.loads((place / "pixels.json").read_text())
for name in ["lossy", "lossless", "alpha", "lossless_alpha", "turned"]:
    shown = ImageOps.exif_transpose(Image.open(place / f"{name}.webp")).convert("RGBA")
    white = Image.new("RGBA", shown.size, (255, 255, 255, 255))
    white.alpha_composite(shown)
    pixels = np.asarray(white.convert("RGB")).tobytes().hex()
    known[f"{name}.webp"] = {"width": shown.width, "height": shown.height, "rgb": pixels}
(place / "pixels.json").write_text(json.dumps(known, indent=0))
