from .convert import (
    in_float32 as in_float32,
)
from .errors import (
    DeviceError as DeviceError,
    ExportError as ExportError,
)
from .parity import (
    BOUNDS as BOUNDS,
    PARITY_SIZES as PARITY_SIZES,
)
from .release import (
    Release as Release,
)
from .saved_model import (
    MAX_SERVED_PIXELS as MAX_SERVED_PIXELS,
    TFLITE_VARIANTS as TFLITE_VARIANTS,
    Exported as Exported,
    announce as announce,
    called as called,
    check_destination as check_destination,
    check_name as check_name,
    export as export,
)
