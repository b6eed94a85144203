from .release import (
    Release as Release,
)
from .saved_model import (
    BOUNDS as BOUNDS,
    MAX_SERVED_PIXELS as MAX_SERVED_PIXELS,
    PARITY_SIZES as PARITY_SIZES,
    TFLITE_VARIANTS as TFLITE_VARIANTS,
    Exported as Exported,
    ExportError as ExportError,
    announce as announce,
    check_name as check_name,
    export as export,
    in_float32 as in_float32,
)
