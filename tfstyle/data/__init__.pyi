from .batches import (
    CACHE_BYTES as CACHE_BYTES,
    crops as crops,
    image_batches as image_batches,
    noise_batches as noise_batches,
    order as order,
    style_draws as style_draws,
)
from .digits import (
    Digits as Digits,
    blobs as blobs,
    digit_batches as digit_batches,
    read_digits as read_digits,
    read_idx as read_idx,
    scrambled as scrambled,
)
from .photos import (
    Photos as Photos,
    pictures_of as pictures_of,
    scaled_pictures as scaled_pictures,
)
from .sources import (
    SKIP_LIMIT as SKIP_LIMIT,
    DataError as DataError,
    ReadReport as ReadReport,
    checked_images as checked_images,
    fingerprints as fingerprints,
    gallery as gallery,
    list_files as list_files,
    name_of as name_of,
)
