from .balance import (
    Balance as Balance,
    GradNormBalance as GradNormBalance,
    TargetBalance as TargetBalance,
    UncertaintyBalance as UncertaintyBalance,
)
from .folders import (
    RunFolder as RunFolder,
    card as card,
    latest_checkpoint as latest_checkpoint,
    open_folder as open_folder,
    resolved_options as resolved_options,
    start_from as start_from,
)
from .loop import (
    Progress as Progress,
    fit as fit,
)
from .optimizers import (
    Ema as Ema,
    Optim as Optim,
    adam as adam,
    cosine_schedule as cosine_schedule,
    halving_schedule as halving_schedule,
)
from .runs import (
    Run as Run,
    open_run as open_run,
)
from .strategy import (
    Interrupted as Interrupted,
    Options as Options,
    TrainingError as TrainingError,
    is_chief as is_chief,
    prepare as prepare,
    shard as shard,
)
