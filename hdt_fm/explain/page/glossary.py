"""What each test of the maps asks, in one plain sentence: the glossary has those that were run."""

from collections.abc import Mapping

TESTS: Mapping[str, str] = {
    "skill": "Whether the output predicts better than guessing, on people the model has not seen.",
    "planted signal": "Signals are hidden in made-up windows, at places that we know, and a model of the same kind "
    "learns to find them. A method that misses them there cannot be read where nobody knows the truth.",
    "dependence": "Whether the output and the maps change at all when the input does.",
    "concentration": "Whether a single channel that is no waveform carries everything. Such a channel may be the "
    "answer itself, told to the model by mistake.",
    "completeness": "Whether credits add up to the change of the output.",
    "randomisation": "The model's learned weights are replaced by random ones from the head down. A map that does not "
    "change showed the signal's shape, not what the model learned.",
    "random target": "The model is asked a meaningless question, by a random last layer. A map that stays the same is "
    "not about the question.",
    "seeds": "Whether the map comes out alike when a method that draws at random draws again, or the model is trained "
    "again.",
    "shift": "Signals are delayed by a tenth of a second, which changes nothing for a reader. The map must move along.",
    "noise": "Noise of a twentieth of each channel's spread is added. A map that changes its order then is too brittle "
    "to read.",
    "sensitivity": "How far the map can be turned, at the worst of several nudges too small to see.",
    "deletion": "The stretches of most credit are taken away first, or put back first. That must move the output more "
    "than stretches picked at random.",
    "CPD and CPP": "Stretches are taken away a few at a time and every step of the output counts, up or down. Those of "
    "most credit must move it much (CPD, cumulative prediction difference), those of least credit little (CPP, "
    "cumulative prediction preservation).",
    "infidelity": "How badly credits foretell what the output does when random stretches are taken away.",
    "agreement": "Whether methods that ask the same question in other ways rank the stretches of a window alike.",
    "physiology": "Whether credit lies near moments that mean something in the body, such as heart beats or meals, "
    "more than chance would have it.",
}
