"""What made a picture: noted in every format, told again, signed, and a change of it seen."""

import datetime
import io
import json

import numpy as np
import pytest
from PIL import Image

from tfstyle import cli, images
from tfstyle.images import provenance

MADE = {"model": "starry_night", "version": 1, "style": {"a": 0.5, "b<&": 0.5}}
FORMATS = ("png", "jpg", "webp")


def written(path, image, **options):
    images.write(path, image, **provenance.notes(MADE), **options)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_made_a_picture_is_read_back_from_every_format(tmp_path, photo, suffix):
    path = written(tmp_path / f"painted.{suffix}", photo)
    found = provenance.found(path)
    assert found["made"] == {
        "tfstyle": provenance.tfstyle.__version__,
        "ai_generated": True,
        **MADE,
    }
    assert found["source_type"] == provenance.SOURCE_TYPE
    plain = tmp_path / f"plain.{suffix}"
    images.write(plain, photo)
    np.testing.assert_array_equal(images.read(path), images.read(plain))
    assert provenance.found(plain) == {"made": None, "source_type": None}


def test_deep_pictures_carry_it_too(tmp_path, photo):
    path = written(tmp_path / "deep.png", photo, bits=16)
    assert provenance.found(path)["made"]["model"] == "starry_night"
    assert provenance.found(path)["source_type"] == provenance.SOURCE_TYPE


@pytest.mark.parametrize("suffix", ("jpg", "webp"))
def test_other_programs_find_it_in_exif_and_xmp(tmp_path, photo, suffix):
    with Image.open(written(tmp_path / f"painted.{suffix}", photo)) as image:
        exif = image.getexif()
        assert exif[0x0131].startswith("tfstyle ") and "AI-generated" in exif[0x010E]
        packet = image.info["xmp"]
        assert b"trainedAlgorithmicMedia" in packet and b"b<&" not in packet


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "", "[" * 100_000])
def test_notes_of_others_are_no_provenance(tmp_path, photo, text):
    images.write(tmp_path / "a.png", photo, text={"tfstyle:made": text}, xmp="DigitalSourceType")
    assert provenance.found(tmp_path / "a.png") == {"made": None, "source_type": None}


# Signatures


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    """A root, a signer's certificate below it, and its key, as C2PA wants them: (chain, key)."""
    pytest.importorskip("c2pa")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("credentials")
    now = datetime.datetime.now(datetime.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "signer", "other")}
    use = x509.KeyUsage.__init__.__code__.co_varnames[1:10]

    def certificate(name):
        is_root = name == "root"
        names = {
            each: x509.Name(
                [
                    x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "tfstyle tests"),
                    x509.NameAttribute(x509.NameOID.COMMON_NAME, each),
                ]
            )
            for each in ("root", name)
        }
        allowed = {"key_cert_sign", "crl_sign"} if is_root else {"digital_signature"}
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["root"])
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(is_root, None), critical=True)
            .add_extension(x509.KeyUsage(**{u: u in allowed for u in use}), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["root"].public_key()),
                critical=False,
            )
        )
        if not is_root:
            purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purpose, critical=False)
        return builder.sign(keys["root"], hashes.SHA256())

    pem = serialization.Encoding.PEM
    chain = b"".join(certificate(name).public_bytes(pem) for name in ("signer", "root"))
    (folder / "chain.pem").write_bytes(chain)
    for name in ("signer", "other"):
        text = keys[name].private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.pem").write_bytes(text)
    return folder / "chain.pem", folder / "signer.pem"


def signed(path, image, credentials):
    sign = provenance.signer(*credentials)
    return written(path, image, finish=lambda data, format: sign(data, format, MADE))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_signed_picture_verifies_and_a_changed_one_does_not(tmp_path, photo, credentials, suffix):
    path = signed(tmp_path / f"painted.{suffix}", photo, credentials)
    found = provenance.verified(path)
    # Nobody trusts the root of a test, which is said; the picture is as it was signed.
    assert found["state"] == "Valid" and found["problems"] == ["signingCredential.untrusted"]
    assert found["made"] == MADE and found["source_type"] == provenance.SOURCE_TYPE
    assert found["signer"] == "tfstyle tests / signer"
    assert provenance.found(path)["made"]["model"] == "starry_night"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    assert provenance.verified(path)["state"] == "Invalid"


def test_an_unsigned_picture_has_no_manifest(tmp_path, photo, credentials):
    assert provenance.verified(written(tmp_path / "a.png", photo)) is None
    Image.new("RGB", (4, 4)).save(tmp_path / "a.bmp")
    assert provenance.verified(tmp_path / "a.bmp") is None


def test_a_signed_note_of_others_is_no_provenance(tmp_path, photo, credentials, capsys):
    import c2pa

    chain, key = (path.read_bytes() for path in credentials)
    action = {"action": "c2pa.created", "digitalSourceType": provenance.SOURCE_TYPE}
    assertions = [
        {"label": "c2pa.actions", "data": {"actions": [action]}},
        {"label": "org.tfstyle.made", "data": ["not what tfstyle notes"]},
    ]

    def sign(data, format):
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, chain, key, None)
        result = io.BytesIO()
        with c2pa.Signer.from_info(info) as by, c2pa.Builder({"assertions": assertions}) as builder:
            builder.sign(by, "image/png", io.BytesIO(data), result)
        return result.getvalue()

    images.write(tmp_path / "a.png", photo, finish=sign)
    assert provenance.verified(tmp_path / "a.png")["made"] is None
    assert cli.main(["verify", str(tmp_path / "a.png")]) == 1
    assert "nothing about what made it" in capsys.readouterr().out


def test_wrong_credentials_are_told(tmp_path, credentials):
    chain, key = credentials
    for files, told in (
        ((key, key), "no certificates"),
        ((chain, chain), "no private key"),
        ((chain, chain.parent / "other.pem"), "not the key of the first certificate"),
        ((tmp_path / "none.pem", key), "No such file"),
    ):
        with pytest.raises(provenance.SigningError, match=told):
            provenance.signer(*files)


# The commands


@pytest.fixture
def desk(tmp_path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    images.write("photo.png", photo[:48, :64])
    return tmp_path


def test_stylized_pictures_say_so_by_default(desk, capsys):
    assert cli.main(["stylize", "photo.png", "-o", "painted.jpg", "--strength", "0.5"]) == 0
    made = provenance.found("painted.jpg")["made"]
    assert made["model"] == "starry_night" and made["ai_generated"] and made["strength"] == 0.5
    assert made["version"]
    capsys.readouterr()
    assert cli.main(["verify", "painted.jpg"]) == 0
    told = capsys.readouterr().out
    assert "model starry_night" in told and "trainedAlgorithmicMedia" in told
    assert cli.main(["verify", "photo.png"]) == 1
    assert "nothing in its metadata" in capsys.readouterr().out


def test_a_signed_one_is_verified_and_a_changed_one_is_refused(desk, capsys, credentials):
    sign = ["--sign", *map(str, credentials)]
    assert cli.main(["stylize", "photo.png", "-o", "painted.png", *sign]) == 0
    capsys.readouterr()
    assert cli.main(["verify", "painted.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["signed"]["state"] == "Valid"
    assert told["signed"]["made"]["model"] == told["metadata"]["made"]["model"] == "starry_night"
    data = bytearray((desk / "painted.png").read_bytes())
    data[-20] ^= 1
    (desk / "painted.png").write_bytes(data)
    assert cli.main(["verify", "painted.png"]) in (1, 2)


def test_a_wrong_key_stops_before_anything_is_written(desk, capsys, credentials):
    assert cli.main(["stylize", "photo.png", "-o", "new/a.png", "--sign", "none", "none"]) == 2
    assert "none: No such file" in capsys.readouterr().err
    assert not (desk / "new").exists()
