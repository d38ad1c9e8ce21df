"""Every rule that a published folder must keep, in the order in which a reader wants to hear of it."""

from collections.abc import Callable, Iterable

from hdt_fm.report.rules.attribution import attribution_report
from hdt_fm.report.rules.audit import privacy_audit
from hdt_fm.report.rules.card_words import nothing_left_out, placeholders
from hdt_fm.report.rules.contracts import contracts_hold, signals_agree
from hdt_fm.report.rules.cost import cost_told
from hdt_fm.report.rules.documents import chai_fields, documents
from hdt_fm.report.rules.fairness import fairness_audit
from hdt_fm.report.rules.files import earlier_release, files_are_there, no_links, sums_fit, weights_are_tensors
from hdt_fm.report.rules.folder import Folder
from hdt_fm.report.rules.licences import licences
from hdt_fm.report.rules.numbers import baselines, card_numbers
from hdt_fm.report.rules.subgroups import subgroup_table
from hdt_fm.report.rules.traces import dates_of_birth, private
from hdt_fm.report.rules.withdrawn import withdrawn_people

Rule = Callable[[Folder], Iterable[str]]
RULES: dict[str, Rule] = {
    "files are there": files_are_there,
    "no links": no_links,
    "earlier release": earlier_release,
    "sums fit": sums_fit,
    "weights are tensors": weights_are_tensors,
    "contracts hold": contracts_hold,
    "signals agree": signals_agree,
    "nobody withdrew": withdrawn_people,
    "nothing private": private,
    "no date of birth": dates_of_birth,
    "no placeholder": placeholders,
    "card complete": nothing_left_out,
    "licences": licences,
    "baselines beside": baselines,
    "subgroups told": subgroup_table,
    "privacy audited": privacy_audit,
    "fairness audit fits": fairness_audit,
    "attribution fits": attribution_report,
    "cost told": cost_told,
    "card's numbers": card_numbers,
    "documents as made": documents,
    "CHAI fields": chai_fields,
}
