from .optimization import (
    INITS as INITS,
    OPTIMIZERS as OPTIMIZERS,
    PRESETS as PRESETS,
    Progress as Progress,
    Result as Result,
    Style as Style,
    optimize as optimize,
)
