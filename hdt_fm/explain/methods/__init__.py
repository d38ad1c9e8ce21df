"""Methods of attribution by name. A method is a file with `credit(Run, Plan) -> MethodMap` and its row `METHOD`."""

from collections.abc import Mapping

from hdt_fm.explain.methods import integrated_gradients, occlusion, saliency
from hdt_fm.explain.methods.method import Method, Plan

__all__ = ["METHODS", "Method", "Plan"]

METHODS: Mapping[str, Method] = {one.METHOD.name: one.METHOD for one in (integrated_gradients, saliency, occlusion)}
