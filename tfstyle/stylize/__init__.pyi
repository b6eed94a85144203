from .shelf import (
    ModelNotFoundError as ModelNotFoundError,
    card as card,
    find as find,
    find_saved_model as find_saved_model,
    model_folders as model_folders,
    read_card as read_card,
    shipped_models as shipped_models,
)
from .stylizer import (
    BYTES_PER_PIXEL as BYTES_PER_PIXEL,
    WHOLE_BYTES as WHOLE_BYTES,
    WHOLE_PIXELS as WHOLE_PIXELS,
    Stylizer as Stylizer,
    check_strength as check_strength,
    finished as finished,
    load as load,
    style_weights as style_weights,
)
