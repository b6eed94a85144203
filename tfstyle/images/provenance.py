"""What made a picture, noted in its file: plainly in its metadata, and signed where asked for.

Plain metadata say it to who looks and are lost or changed easily. A signed manifest (C2PA, Content
Credentials: https://c2pa.org) shows a change of picture or text since; it needs the extra [c2pa]
and a certificate.
"""

import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.sax import saxutils

import tfstyle
from tfstyle.errors import TfstyleError
from tfstyle.images import files

# IPTC: https://cv.iptc.org/newscodes/digitalsourcetype/
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_KEYWORD = "tfstyle:made"
_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
# How files of these types begin.
_MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
_XMP = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/">
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>{tool}</xmp:CreatorTool>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{told}</rdf:li></rdf:Alt></dc:description>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


class SigningError(TfstyleError, ValueError):
    """A picture that cannot be signed; the message names the file and the mend."""


def notes(made: Mapping[str, object]) -> dict[str, Any]:
    """What `images.encode` and `images.write` take to note in a file what made it.

    Args:
        made: what made the picture, JSON values: {"model": ..., "version": ...}, or "method".

    Returns:
        {"text": texts, "xmp": packet}. The texts are "Software", "Description" (with the words
        "AI-generated") and, for `found`, "tfstyle:made"; the packet has the IPTC source type.
    """
    tool = f"tfstyle {tfstyle.__version__}"
    by = " ".join(f"{key} {value}" for key, value in made.items() if isinstance(value, str | int))
    told = f"AI-generated: made with {tool}, {by}"
    every = {"tfstyle": tfstyle.__version__, "ai_generated": True, **made}
    return {
        "text": {"Software": tool, "Description": told, _KEYWORD: json.dumps(every)},
        "xmp": packet(told),
    }


def packet(told: str) -> str:
    """The XMP packet of a picture that tfstyle made: IPTC source type, tool and description.

    Args:
        told: what made it, in words.
    """
    tool = f"tfstyle {tfstyle.__version__}"
    return _XMP.format(source=SOURCE_TYPE, tool=saxutils.escape(tool), told=saxutils.escape(told))


def found(path: str | os.PathLike) -> dict[str, Any]:
    """What the plain metadata of a file say.

    Returns:
        "made": as `notes` was given it with "tfstyle" and "ai_generated", None where it has none;
        "source_type": the IPTC digital source type of its XMP packet, None where it has none.

    Raises:
        images.ImageError: as `images.read`.
    """
    try:
        made = json.loads(files.read_text(path).get(_KEYWORD, "null"))
    except (ValueError, RecursionError):
        made = None
    packet = files.read_xmp(path) or ""
    _, _, rest = packet.partition("DigitalSourceType")
    kind = rest.lstrip(">=\"' ").split("<")[0].split('"')[0].strip() if rest else None
    return {"made": made if isinstance(made, dict) else None, "source_type": kind or None}


def signer(certificates: str | os.PathLike, key: str | os.PathLike) -> Callable:
    """A function that signs encoded pictures, for `finish` of `images.write`.

    Args:
        certificates: PEM file of the signer's certificate and those above it, the signer's first.
            C2PA wants one with extended key usage e-mail protection or document signing.
        key: PEM file of its private key, without passphrase: EC P-256, P-384, P-521, RSA or
            Ed25519.

    Returns:
        (encoded picture, format, made) -> the same with a manifest.

    Raises:
        SigningError: without the extra [c2pa], or for files that are no certificates or no key.
    """
    c2pa = _c2pa()
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    chain, secret = (_bytes(path) for path in (certificates, key))
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, IndexError) as error:
        raise SigningError(
            f"{certificates}: no certificates in PEM form ({error}). Give the signer's, and those "
            "above it."
        ) from error
    try:
        private = serialization.load_pem_private_key(secret, None)
    except (ValueError, TypeError) as error:
        raise SigningError(
            f"{key}: no private key in PEM form without passphrase ({error})."
        ) from error
    algorithms = c2pa.C2paSigningAlg
    if isinstance(private, ec.EllipticCurvePrivateKey):
        of_size = {256: algorithms.ES256, 384: algorithms.ES384, 521: algorithms.ES512}
        algorithm = of_size.get(private.key_size)
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = algorithms.PS256
    else:
        algorithm = algorithms.ED25519 if isinstance(private, ed25519.Ed25519PrivateKey) else None
    if algorithm is None:
        raise SigningError(f"{key}: give a key of EC P-256, P-384, P-521, RSA or Ed25519.")
    if private.public_key() != leaf.public_key():
        raise SigningError(f"{key}: not the key of the first certificate in {certificates}.")

    def sign(data: bytes, format: str, made: Mapping[str, object]) -> bytes:
        manifest = {
            "claim_generator_info": [{"name": "tfstyle", "version": tfstyle.__version__}],
            "assertions": [
                {
                    "label": "c2pa.actions",
                    "data": {
                        "actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]
                    },
                },
                {"label": "org.tfstyle.made", "data": dict(made)},
            ],
        }
        info = c2pa.C2paSignerInfo(alg=algorithm, sign_cert=chain, private_key=secret, ta_url=None)
        signed = io.BytesIO()
        try:
            with c2pa.Signer.from_info(info) as by, c2pa.Builder(manifest) as builder:
                builder.sign(by, _TYPES[format], io.BytesIO(data), signed)
        except c2pa.C2paError as error:
            raise SigningError(f"{certificates}: C2PA does not sign with it ({error}).") from error
        return signed.getvalue()

    return sign


def verified(path: str | os.PathLike) -> dict[str, Any] | None:
    """The signed manifest of a file; None where it has none.

    Returns:
        "state": "Valid" (unchanged since it was signed), "Trusted" (and the signer is on a list of
        trust), or "Invalid"; "signer"; "made", as tfstyle signed it, else None; "source_type";
        "problems".

    Raises:
        SigningError: without the extra [c2pa], or for a manifest that cannot be read.
    """
    c2pa = _c2pa()
    data = files.read_bytes(path)
    kind = next((t for m, t in _MAGIC.items() if data.startswith(m)), None)
    if kind is None:
        return None
    try:
        with c2pa.Reader(kind, io.BytesIO(data)) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        raise SigningError(f"{path}: its manifest cannot be read ({error}).") from error
    manifest = store["manifests"][store["active_manifest"]]
    assertions = {each["label"]: each["data"] for each in manifest.get("assertions", [])}
    actions = assertions.get("c2pa.actions.v2", assertions.get("c2pa.actions", {}))
    types = [action.get("digitalSourceType") for action in actions.get("actions", [])]
    signature = manifest.get("signature_info", {})
    made = assertions.get("org.tfstyle.made")
    return {
        "state": store.get("validation_state", "Invalid"),
        "signer": " / ".join(
            signature[name] for name in ("issuer", "common_name") if name in signature
        ),
        "made": made if isinstance(made, dict) else None,  # anyone may sign anything
        "source_type": next(filter(None, types), None),
        "problems": [each["code"] for each in store.get("validation_status", [])],
    }


def can_verify() -> bool:
    """Whether the extra [c2pa] is there."""
    try:
        _c2pa()
    except SigningError:
        return False
    return True


def _c2pa() -> ModuleType:
    try:
        if "c2pa" not in sys.modules:
            _keep_to_its_package()
        import c2pa
    except ModuleNotFoundError as error:
        raise SigningError(f"signatures need {error.name}: pip install 'tfstyle[c2pa]'") from error
    except (OSError, RuntimeError) as error:  # as without its library, or for another processor
        raise SigningError(
            f"signatures need c2pa, which cannot be loaded here ({error})."
        ) from error
    return c2pa


def _keep_to_its_package() -> None:
    """Has c2pa look for its native library in its own folder alone.

    By itself it looks in the current one first: that may be gone or another user's, where it fails,
    or one of downloads, whose libc2pa_c.so it would run.
    """
    package = importlib.util.find_spec("c2pa")
    if not package or not package.origin:
        return
    folder = Path(package.origin).parent
    spec = importlib.util.spec_from_file_location("c2pa.lib", folder / "lib.py")
    if not spec or not spec.loader or not (folder / "lib.py").exists():
        return

    class OwnPath(type(folder)):  # type: ignore[misc]
        @classmethod
        def cwd(cls) -> Path:
            return folder

    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Path = OwnPath  # type: ignore[attr-defined]
    sys.modules["c2pa.lib"] = module


def _bytes(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SigningError(f"{path}: {error.strerror}.") from error
