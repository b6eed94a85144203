from .runners import (
    FunctionRunner as FunctionRunner,
    KerasRunner as KerasRunner,
    Runner as Runner,
    SavedModelRunner as SavedModelRunner,
    TFLiteRunner as TFLiteRunner,
)
from .shelf import (
    CARD_SCHEMA as CARD_SCHEMA,
    ModelNotFoundError as ModelNotFoundError,
    card as card,
    check_card as check_card,
    find as find,
    find_saved_model as find_saved_model,
    model_folders as model_folders,
    read_card as read_card,
    shipped_models as shipped_models,
    user_folder as user_folder,
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
