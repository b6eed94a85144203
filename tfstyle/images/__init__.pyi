from .animation import (
    Animation as Animation,
    encode_animation as encode_animation,
    read_animation as read_animation,
    write_animation as write_animation,
)
from .arrays import (
    MAX_PIXELS as MAX_PIXELS,
    MAX_SERVED_PIXELS as MAX_SERVED_PIXELS,
    ImageError as ImageError,
    TooManyPixelsError as TooManyPixelsError,
    fit as fit,
    from_uint8 as from_uint8,
    from_uint8_tensor as from_uint8_tensor,
    resize as resize,
    scaled_size as scaled_size,
    to_uint8 as to_uint8,
    to_uint8_tensor as to_uint8_tensor,
)
from .faces import (
    face_mask as face_mask,
    find_faces as find_faces,
)
from .files import (
    WRITTEN_SUFFIXES as WRITTEN_SUFFIXES,
    decode_bytes as decode_bytes,
    encode as encode,
    read as read,
    read_bytes as read_bytes,
    read_icc as read_icc,
    read_mask as read_mask,
    read_text as read_text,
    read_xmp as read_xmp,
    to_graph_bytes as to_graph_bytes,
    to_srgb_bytes as to_srgb_bytes,
    write as write,
)
from .folders import (
    Found as Found,
    find_images as find_images,
    list_images as list_images,
)
from .formats import (
    SUFFIXES as SUFFIXES,
    size_of as size_of,
)
from .graph import (
    decode as decode,
)
from .memory import (
    check_memory as check_memory,
)
from .metadata import (
    photo_metadata as photo_metadata,
)
