from .artefacts import (
    border_marks as border_marks,
    checkerboard as checkerboard,
)
from .brushwork import (
    Brushwork as Brushwork,
    BrushworkJudge as BrushworkJudge,
    chroma_noise as chroma_noise,
    own_patch_distance as own_patch_distance,
    palette_distance as palette_distance,
    patch_distance as patch_distance,
    relative_wasserstein as relative_wasserstein,
    repetition as repetition,
    sliced_wasserstein as sliced_wasserstein,
)
from .distances import (
    LAYERS as LAYERS,
    Scores as Scores,
    content_distance as content_distance,
    contrast_table as contrast_table,
    evaluate as evaluate,
    evaluate_all as evaluate_all,
    evaluate_styles as evaluate_styles,
    evaluate_target as evaluate_target,
    local_contrast as local_contrast,
    lpips as lpips,
    marks as marks,
    psnr as psnr,
    style_distance as style_distance,
    subject_distance as subject_distance,
)
from .sets import (
    KID_LAYER as KID_LAYER,
    kid as kid,
    vgg16_kid as vgg16_kid,
)
from .validator import (
    Validator as Validator,
    over_styles as over_styles,
    with_total as with_total,
)
