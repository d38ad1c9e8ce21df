"""What can be fetched: one entry a set, in the words of those who publish it.

`sha256` and `size` are demanded of a file and stand here only if they are known; `about` is told and not checked. No
URL is guessed: `confirmed` says who else names it. Looked up on 2026-11-22 in what public repositories wrote down.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """One file to download and unpack.

    Args:
        url: Where its publisher offers it.
        name: What it is called here and in a folder of files that were downloaded before.
        size: Bytes, if known.
        sha256: Its digest, if known.
        trust: Where size and digest come from.
        nested: Archives in it that are unpacked too, each where it stands.
        one_folder: Whether all of it lies in one folder that is not of the set (GitHub adds one).
    """

    url: str
    name: str
    size: int | None = None
    sha256: str | None = None
    trust: str = ""
    nested: tuple[str, ...] = ()
    one_folder: bool = False


@dataclass(frozen=True)
class Listing:
    """Single files, named with their digests by a list that their publisher keeps beside them.

    Args:
        url: The list, in the form of `sha256sum`; the files lie beside it.
        wanted: Beginnings of the paths that are wanted; an empty one is all.
    """

    url: str
    wanted: tuple[str, ...] = ("",)

    @property
    def base(self) -> str:
        """The folder of list and files."""
        return self.url.rpartition("/")[0]


@dataclass(frozen=True)
class Published:
    """A public set: what it is, where it is, and on what terms.

    Args:
        title: What was recorded, of whom, by whom.
        licence: Its name, and what it asks for, in one line.
        page: Where people read about it.
        source: What is downloaded.
        about: Size of the download as others tell it; it is not checked.
        reads: The folder inside that `source=` of the experiment points to.
        confirmed: How we know that the URL is the publisher's.
    """

    title: str
    licence: str
    page: str
    source: Archive | Listing
    about: str | None
    reads: str
    confirmed: str


UCI = "https://archive.ics.uci.edu"
PHYSIONET = "https://physionet.org"
BY_COMMIT = (
    "GitHub's archive of the commit that the cohort was written for; GitHub does not promise the same bytes for ever"
)

SETS = {
    "bidmc": Published(
        title="BIDMC 1.0.0: ECG, PPG and respiration of 53 bedside recordings, breaths marked (Pimentel et al. 2017)",
        licence="ODC-By 1.0 (PhysioNet open access): name the authors and PhysioNet",
        page=f"{PHYSIONET}/content/bidmc/1.0.0/",
        source=Listing(f"{PHYSIONET}/files/bidmc/1.0.0/SHA256SUMS.txt", ("bidmc_csv/", "README", "LICENSE")),
        about=None,
        reads="bidmc_csv",
        confirmed="PhysioNet's own form of URL; files there are named so in at least ten public source files",
    ),
    "pamap2": Published(
        title="PAMAP2: three inertial units and heart rate of 9 people over 18 activities (Reiss and Stricker 2012)",
        licence="CC BY 4.0: name the authors",
        page=f"{UCI}/dataset/231/pamap2+physical+activity+monitoring",
        source=Archive(
            f"{UCI}/static/public/231/pamap2+physical+activity+monitoring.zip",
            "pamap2.zip",
            nested=("PAMAP2_Dataset.zip",),
        ),
        about="688 MB",
        reads="",
        confirmed="UCI's own form of URL; named so in at least ten public source files",
    ),
    "ppg_dalia": Published(
        title="PPG-DaLiA: wrist and chest of 15 people over daily activities, heart rate from ECG (Reiss et al. 2019)",
        licence="CC BY 4.0: name the authors; the publisher asks for scientific, non-commercial use",
        page=f"{UCI}/dataset/495/ppg+dalia",
        source=Archive(f"{UCI}/static/public/495/ppg+dalia.zip", "ppg_dalia.zip", nested=("data.zip",)),
        about="2.7 GB",
        reads="",
        confirmed="UCI's own form of URL; named so in at least ten public source files",
    ),
    "sleep_edf": Published(
        title="Sleep-EDF Expanded 1.0.0: EEG, EOG, EMG of 197 nights with scored sleep stages (Kemp et al. 2000)",
        licence="ODC-By 1.0 (PhysioNet open access): name the authors and PhysioNet",
        page=f"{PHYSIONET}/content/sleep-edfx/1.0.0/",
        source=Listing(f"{PHYSIONET}/files/sleep-edfx/1.0.0/SHA256SUMS.txt"),
        about="8.1 GB",
        reads="",
        confirmed="PhysioNet's own form of URL; the list is named so in eight public source files",
    ),
    "sp_sw_har": Published(
        title="SP-SW-HAR: watch and phone of 23 people who stand up, walk, turn and sit down (Matey-Sanz et al. 2023)",
        licence="CC BY 4.0: name the authors",
        page="https://github.com/GeoTecINIT/sp-sw-har-dataset",
        source=Archive(
            "https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/1408d85a512a53861de7bc4729dee283fff2ea9d.zip",
            "sp_sw_har.zip",
            one_folder=True,
        ),
        about=None,
        reads="DATA",
        confirmed=BY_COMMIT,
    ),
    "stress_predict": Published(
        title="Stress-Predict: Empatica E4 at the wrist of 35 people, lab stress protocol (Iqbal et al. 2022)",
        licence="MIT: keep its notice; the authors ask to be named",
        page="https://github.com/italha-d/Stress-Predict-Dataset",
        source=Archive(
            "https://github.com/italha-d/Stress-Predict-Dataset/archive/f49d2eae603f90c3f0140fbbbae7c0480d651023.zip",
            "stress_predict.zip",
            one_folder=True,
        ),
        about=None,
        reads="",
        confirmed=BY_COMMIT,
    ),
    "uci_har": Published(
        title="UCI HAR: phone at the waist of 30 people over six activities, windows of 2.56 s (Anguita et al. 2013)",
        licence="CC BY 4.0: name the authors; the README inside forbids commercial use",
        page=f"{UCI}/dataset/240/human+activity+recognition+using+smartphones",
        source=Archive(
            f"{UCI}/static/public/240/human+activity+recognition+using+smartphones.zip",
            "uci_har.zip",
            size=61_005_872,
            sha256="c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031",
            trust="UCI publishes none; at least five public repositories noted this one after their downloads",
            nested=("UCI HAR Dataset.zip",),
        ),
        about=None,
        reads="",
        confirmed="UCI's own form of URL; named so in at least ten public source files",
    ),
    "wesad": Published(
        title="WESAD: wrist and chest of 15 people at rest, under stress and amused (Schmidt et al. 2018)",
        licence="scientific, non-commercial use, name the authors (their page); UCI lists it as CC BY 4.0",
        page=f"{UCI}/dataset/465/wesad+wearable+stress+and+affect+detection",
        source=Archive("https://uni-siegen.sciebo.de/s/HGdUkoNlW1Ub0Gx/download", "wesad.zip"),
        about="2.2 GB",
        reads="",
        confirmed="the authors' share, named in at least ten public source files; UCI's own zip only points there",
    ),
}
