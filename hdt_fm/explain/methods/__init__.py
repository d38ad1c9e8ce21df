"""Methods of attribution by name. A method is a file with `credit(Run, Plan) -> MethodMap` and its row `METHOD`."""

from collections.abc import Mapping

from hdt_fm.explain.methods import (
    deep_lift,
    feature_ablation,
    grad_cam,
    gradient_shap,
    integrated_gradients,
    kernel_shap,
    layer_activation,
    lime,
    occlusion,
    saliency,
    shapley_sampling,
    smooth_integrated_gradients,
)
from hdt_fm.explain.methods.method import Method, Plan

__all__ = ["METHODS", "Method", "Plan"]

METHODS: Mapping[str, Method] = {
    one.METHOD.name: one.METHOD
    for one in (
        integrated_gradients,
        smooth_integrated_gradients,
        gradient_shap,
        saliency,
        deep_lift,
        occlusion,
        feature_ablation,
        shapley_sampling,
        kernel_shap,
        lime,
        grad_cam,
        layer_activation,
    )
}
