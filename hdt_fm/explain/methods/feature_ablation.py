"""Credit by taking stretches of the input away, one at a time and side by side."""

from captum.attr import FeatureAblation

from hdt_fm.explain.binding import Run
from hdt_fm.explain.explanation import MethodMap
from hdt_fm.explain.methods.features import feature_ids, shared_out
from hdt_fm.explain.methods.method import Method, Plan


def credit(run: Run, plan: Plan) -> MethodMap:
    """Fall of the output when one (modality, channel, segment) takes its reference values."""
    masks = feature_ids([tuple(one.shape[1:]) for one in run.inputs], plan.segments, device=run.rows.device)
    found = FeatureAblation(run.forward).attribute(
        inputs=run.inputs,
        baselines=run.references,
        target=run.target,
        additional_forward_args=(run.rows,),
        feature_mask=tuple(masks),
        perturbations_per_eval=max(1, plan.batch_rows // len(run.rows)),
    )
    shared = [shared_out(effect, seen, mask) for effect, seen, mask in zip(found, run.observed, masks, strict=True)]
    return run.map("feature_ablation", shared, sums=False)


METHOD = Method(
    "feature_ablation",
    "Ablation of time segments",
    "How far the output falls when one stretch of one channel takes its reference values; stretches do not overlap.",
    credit,
    sums=False,
    grain="segment",
)
