"""Named benchmark sets: which files they have, what is in them, and where they come from."""

from dataclasses import dataclass
from typing import Literal

RAW = "https://raw.githubusercontent.com"
LANGUAGES = ("el", "en", "es", "fr", "ja")


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes:
        path: Where it lies below the data folder: ``"umls/train.txt"``.
        sha256: Of its bytes, hexadecimal.
        url: Where to download it; ``None``: nowhere.
        member: The file's name inside the archive (``.zip`` or ``.tar.gz``) at ``url``; ``None``:
            ``url`` is the file itself.
    """

    path: str
    sha256: str
    url: str | None = None
    member: str | None = None


@dataclass(frozen=True)
class TextTable:
    """A file that gives entities their names, or says what they are, tab-separated.

    Attributes:
        file: The file.
        columns: Indices of the entity, and of its text; several are joined.
        has_header: Whether the first line is a header.
        until: What ends the text within its field; empty: the field's end.
        after: What comes before the text within its field, with all that is before it; empty:
            nothing. A field without it is taken whole.
        is_quoted: Whether fields are quoted as in CSV.
    """

    file: DataFile
    columns: tuple[int, ...] = (0, 1)
    has_header: bool = False
    until: str = ""
    after: str = ""
    is_quoted: bool = False


@dataclass(frozen=True)
class Counts:
    """What a set holds, over all its parts: entities and relations, then triples of each part."""

    entities: int
    relations: int
    train: int
    valid: int
    test: int


@dataclass(frozen=True)
class Dataset:
    """A named benchmark set.

    Attributes:
        name: Its folder below the data folder, in lower case.
        title: What it is.
        homepage: Where to read about it and get it by hand.
        counts: What is in it; checked when it is loaded.
        files: Train, valid and test; of DBP-5L also the entities and the relations.
        labels: Where entities get their labels; the set can be read without.
        descriptions: Where it is said what they are.
        layout: ``"names"``: tables of names; ``"lines"``: ids that are line numbers (DBP-5L).
    """

    name: str
    title: str
    homepage: str
    counts: Counts
    files: tuple[DataFile, ...]
    labels: TextTable | None = None
    descriptions: TextTable | None = None
    layout: Literal["names", "lines"] = "names"


_CONVE = f"{RAW}/TimDettmers/ConvE/f3c0eb286025410fa5b4c04696c918264163d0ca"
_COMPGCN = f"{RAW}/malllabiisc/CompGCN/3b06f5fec42526faa81afc158df9e64a8382982c"
_KGBERT = f"{RAW}/yao8839836/kg-bert/0b8f625108efcb9b43603b6840f2548ff3d3c973"
_CODEX = f"{RAW}/tsafavi/codex/3132e426c2a6b643b70bad679905a3a6270be440"
_CASCADER = f"{RAW}/tsafavi/cascader/a4c10c567a5fbddf7c0e0f9af86f37097a69b7d3"
_KENS = f"{RAW}/stasl0217/KEnS/36de8a5fb64bf6d239dc7c878f33ef9dff5c4644"
_STAR = f"{RAW}/wangbo9719/StAR_KGC/a42a82c4a3510110e434611191b922ee0613495f"
_GRAIL = f"{RAW}/kkteru/grail/2a3dffa719518e7e6250e355a2fb37cd932de91e"

# Folders below the data folder, and the sha256 of their files.
_SUMS = """
fb15k-237:
61099230e4439f90885ca9767739e31e8e32f54736fa1c35952b27997bc7c08a train.txt
749cbe9d923bac7b9354da5614ecfed2e0220256d442c3e04a6b303db1f273d9 valid.txt
e2e35e8e6113de220140b6f44dc71a5207b0fc6872d575e874aefe13259b655b test.txt
16beedcfad3d32696e8b0b98cfa0f5eeb144f5142225f227a64fd9ce37447da5 entity2name.txt
d982bb5b950820dabc00aee9870cae2035d48c169d10c9f2c225579e19528aa2 entity2text.txt
wn18rr:
038612e783c215ee5f3ca9fbfca27b8d0739be1028fe4ee7c174aecf0b83d5df train.txt
453ce7202afa58094a04d2b1560ee2b02660f1c260b32ce6651c8ccedd1028ab valid.txt
0383bceaaa1096cf3c03ec021ed0048068e2355dbfc0239b292cefdac821cec5 test.txt
8f5c6f11753dafa879917b9bdf73d398ceb3bd4bed8d5553177e1e0f2c37521f entity2text.txt
umls:
873ef4925516b83e7f6f8cc02b4be51d848828710a7f65a956f0ac4a9e452f35 train.txt
025c98f8a4891e2a6582ec5b40ee0d904031edad9c52554522f4b7904820c98e valid.txt
a7eb529a3d2810fcc96341ccc97c625a5e202f8389673aa6bd317eeebbb79014 test.txt
c6438aafd894917cefe73ea75fc20743d18f4226ebc85a2f43758ff3f77330b9 entity2text.txt
cb4eccdebf5bfc73adc2db0fc582d215256aa11d789d3a16a6c0649f338f5fe3 entity2textlong.txt
kinship:
738612111a6acf0e39662bde24c7e72a4d1edf20931beea077da367dda689731 train.txt
c56f8630a583178b1e569f11a64aa535ae1ce0b0912d8b1e24716be2b37f04da valid.txt
05e5733265761d55be9c05bfaff5a8d0808df46f9c1e9d66cc3f2fe114e43d88 test.txt
nations:
0830fa9da8e5bba2ccdaa45b7bdc9130451ba66b09ff2708f35fccaf82473e57 train.txt
2b337a62e51a2f45c283eac98a70d21b7e0e102136be1539b2a52c652a7b0530 valid.txt
3971085165b47b6aeaec68058c6d8d98b3005e929db81268410b95ae4db770ab test.txt
countries/S1:
5256bf3fc4181d7e87d819571e3acfa5425fc5af365b9ebe5c113740534ca561 train.txt
f4b27648148a44f87e627140ec3a02ca4c884c32d348591147ca72f1d6fff5b0 valid.txt
262ca5ae5ed3aa1927026e0f258cc52b10830185b93465b93b9360727e719158 test.txt
countries/S2:
84c8f310fa076f902760f0909716b13bc0853a105ab9e0145e4e5135d855f68a train.txt
f4b27648148a44f87e627140ec3a02ca4c884c32d348591147ca72f1d6fff5b0 valid.txt
262ca5ae5ed3aa1927026e0f258cc52b10830185b93465b93b9360727e719158 test.txt
countries/S3:
80a8e3a26aff58b78fd5a453ec2a37591466bad621df8d05185f26763b663a0c train.txt
f4b27648148a44f87e627140ec3a02ca4c884c32d348591147ca72f1d6fff5b0 valid.txt
262ca5ae5ed3aa1927026e0f258cc52b10830185b93465b93b9360727e719158 test.txt
codex-s:
64f93b7f314f3936a6f65739721429db3f6a7c8f5a1e1104ec3bb544f7434f59 train.txt
3831c0e57daef03c3a18cdd1a72e370b496f696c5218883d35c7d2ab8a6a772c valid.txt
27127fcb34688c4778e88a39ef3c9b540807da846021e9d9685660ac1838aca1 test.txt
0123697aedf57b4de3342b9d1b33dc59c05592a918200c7631db0e67271fc6fc entity_text.tsv
grail-inductive/WN18RR_v1:
4cc72d4fdcc8206e208e1f59f3c778be5de4a68cfe76776d15245b0d2c08d396 train.txt
5cebd29da8ada35ac73b6875329884cdf83943ddea454e9f70cc43b423ea479b valid.txt
f1cb44e999e2540a0a614f4bb710c7f82a9304432ff37ce282749b56c66d0d20 test.txt
grail-inductive/WN18RR_v1_ind:
7d1b73c5994e9aa816b34e33ee10707656803ba6b8a0f6066cae7ddc04f87553 train.txt
cfa28b9d75dbab17ea82a9443a5bf8acb738e60267cc63f8a221b38967e1d238 valid.txt
6df8c00a2e0cf1a4b484ac638c081198926fcbc411ce2e12ccc79d432eead269 test.txt
grail-inductive/fb237_v1:
74ef3120fe38a22e5131064d23108b88a8d339496057fa8467d80dcda8f1cec1 train.txt
d4c2698d7dc36c0dc39ffb3d810caeafe530d779bf9f6451fac2027f41c2ff6d valid.txt
130534f98bc3b9621bc866035098b132091e8bc749fbad327b5978f3d47f49f7 test.txt
grail-inductive/fb237_v1_ind:
049829f7047ecf0e0bff0769efca31bc7f811f760c4ffcb20a5680f789b00c61 train.txt
ac817123c4177ef46b08a3802380a355282b99d4283c43474c9dd91c082107dd valid.txt
c79d39372be30a3864cfe5094b3022f38b57d88c351dbbfa2d9e7f3368ac23aa test.txt
grail-inductive/nell_v1:
d2b5d535ace4d1e3a18e69176e84a3ada1ca62fb4a647a12c4222781b91615ba train.txt
d11d6de249ff1185e701536a7d63f0c997cf7cce2646f3d17c06ecc885835726 valid.txt
45ec92b2c2b6cfdd1fe29001dcb1fa5b8fc3c5c4cf0778e67ddad9f6fcce5f53 test.txt
grail-inductive/nell_v1_ind:
b0bfb66f65d70586a26703eb022926a75c1f234d1bcdeafe2e8d387be41291ee train.txt
297c1c82c944bd76255f6ad4cc22f5ecbb23c9daac366e8991b5770ca0dfb8fc valid.txt
66a497671114e73f450cf9e5eb79be5e5790121816228eb43e3ba3481e2bfa28 test.txt
dbp-5l/kg:
46305881c555fe3c260a1619059ca7036e451d6c0f4cac194e313bcc08a58cb5 el-train.tsv
2a407b5ff7e62b3faca164a8ddeffcea502854994ad8c4ef2c8c3382aa925c57 el-val.tsv
1ec7bd54fa5654b6e2adb6e2e57f6fa8bc9a54eca491df730f1b63742516b4ea el-test.tsv
b4c9d1bdb67897d629e3ee44e230b20832893bd96f07b165ce8e7260a452ca81 en-train.tsv
d24379a3fc7647250e090a7e41f73a804999a8876bc00fc01ae2b611573b499e en-val.tsv
8f8da3e594e3675b47e37ba840e14c8f603bb10c2b69d0c364a251b6f51055f6 en-test.tsv
7ac16e46f8329e017ef1d50b07a0fc4502e3397ed34b03da02c2d61f7b3abb3e es-train.tsv
92b43d63fa597ec0421c46b823dcb22e90d87aab57f3993debf2061600b6b871 es-val.tsv
71c65a31134a53a103c94c852fcfe5b840c0451eaeccada52a0f2cf9c2e1212b es-test.tsv
fc21af2d21d415a47958c39d50e03c8f981b839cf6b3bc8c71151e2eb75cec4f fr-train.tsv
59458f5580a33563f84f5242af966c2b610bf5e2fcd878355923389d20d81e49 fr-val.tsv
440891a2dce9dcbe8417764a6b988555e612fa354cd3dba8a05845b2bd6d4579 fr-test.tsv
93d156bb3328d0791caf5257d0e54606bed6221201781126c47a4e27c3b7c367 ja-train.tsv
21a84758d38ed639cfbdca05fc2b6aa821daf4abdaf34db43a272fb1ebb134b4 ja-val.tsv
ff32c85456d7f524a7ed8936db6f0a927cab6fc71091974da03e73c402b8f7fe ja-test.tsv
dbp-5l/entity:
76bf04f0364f81668fe48af9c511ff2469dce836843c63c21dfb2b8e4d220272 el.tsv
cc2d4c4a4769c8b6de00386eae6fba14552eb5bd6b42ffe86429f6ef02bcb811 en.tsv
ec46f124ecb66b99a0bb83af6c55c7298150016c6f88ed276b4fea3db2f0e6b6 es.tsv
b56502875ef0b1df62f9bcacac80c582b24ad4c4fa20932125a8a383a311e924 fr.tsv
215649324c276f30bffe245456acfdd8c2af15f0ae02b590f2565b71cbdc056b ja.tsv
dbp-5l:
7dae0ef521f05d477b8bfdb2a8d5ae74fed35c361a18d476717bc680318d9518 relations.txt
dbp-5l/seed_alignlinks:
b1e59a755ad57f88d340997d4b8b5908f376cf039aabb3779b893b6eb51aa02e el-en.tsv
3a7a67c3a0c2aab22ea1231cc9a095fab2c9ca747c97d50a93ae3f69dd9f14cb el-es.tsv
ef316ad6a9f43515988b55aa9b41300b003b26ab14a9d0b4fc0c18528bb84b0b el-fr.tsv
7bad6ae0435c5044ea65a159f74219b17c3354c4862558941551d121421cd4c4 el-ja.tsv
614b9f3ae386817736e0f98534a7220b8008900b849779b05ad6230cf282b7ff en-fr.tsv
998a244b044a6803d48c483866a05e45527a48b4a6287ddb8d40c9e65bee6a7c es-en.tsv
b4b847142b2e6efebc07e6e30f300eb797f3e80a09465fab3474f9526d966a51 es-fr.tsv
567c186916055f7a8a73fbb0c5e218b7bc00297f1808de15486334716d798743 ja-en.tsv
bf31cca4bf30a1a0a0c988dde8a8a0d182ade1c8a5665ec93241b935ee48b97b ja-es.tsv
cbbaac29238781be4eb4e3855c375cf21326f6c192ca31713444dcc847770a72 ja-fr.tsv
"""


def _digests(sums: str) -> dict[str, str]:
    """Path below the data folder -> sha256."""
    digests: dict[str, str] = {}
    folder = ""
    for line in sums.split("\n"):
        digest, _, name = line.partition(" ")
        if name:
            digests[f"{folder}/{name}"] = digest
        elif line:
            folder = line.removesuffix(":")
    return digests


_SHA256 = _digests(_SUMS)


def _file(path: str, url: str | None = None, member: str | None = None) -> DataFile:
    return DataFile(path, _SHA256[path], url, member)


def _parts(
    folder: str, url: str | None = None, *, is_archive: bool = False
) -> tuple[DataFile, ...]:
    """Train, valid and test in ``folder``; ``url`` is an archive of them, or their folder."""
    files = [f"{part}.txt" for part in ("train", "valid", "test")]
    if url is None or is_archive:
        return tuple(_file(f"{folder}/{file}", url, file if url else None) for file in files)
    return tuple(_file(f"{folder}/{file}", f"{url}/{file}") for file in files)


def _dbp5l(language: str, title: str, counts: Counts) -> Dataset:
    files = [f"kg/{language}-{part}.tsv" for part in ("train", "val", "test")]
    files += [f"entity/{language}.tsv", "relations.txt"]
    return Dataset(
        f"dbp-5l/{language}",
        f"DBP-5L, {title}: DBpedia in one of five languages",
        "https://github.com/stasl0217/KEnS",
        counts,
        tuple(_file(f"dbp-5l/{file}", f"{_KENS}/data/{file}") for file in files),
        layout="lines",
    )


def _grail(folder: str, counts: Counts) -> Dataset:
    side = (
        "the entities to be asked about" if folder.endswith("_ind") else "the entities to learn on"
    )
    return Dataset(
        f"grail-inductive/{folder.lower()}",
        f"GraIL's inductive {folder}: {side}",
        "https://github.com/kkteru/grail",
        counts,
        _parts(f"grail-inductive/{folder}", f"{_GRAIL}/data/{folder}"),
    )


_WN18RR_TEXT = _file("wn18rr/entity2text.txt", f"{_KGBERT}/data/WN18RR/entity2text.txt")
_CODEX_S_TEXT = _file("codex-s/entity_text.tsv", f"{_CASCADER}/data/codex-s.zip", "entity_text.tsv")
_ALL = (
    Dataset(
        "fb15k-237",
        "FB15k-237: Freebase without near-inverse relations",
        "https://github.com/malllabiisc/CompGCN",
        Counts(14_541, 237, 272_115, 17_535, 20_466),
        _parts("fb15k-237", f"{_COMPGCN}/data_compressed/FB15k-237.zip", is_archive=True),
        TextTable(_file("fb15k-237/entity2name.txt", f"{_KGBERT}/data/FB15k-237/entity2text.txt")),
        TextTable(
            _file(
                "fb15k-237/entity2text.txt",
                f"{_STAR}/StAR/data/FB15k-237/fb-entity2text-new.txt",
            ),
            after=" -- ",
        ),
    ),
    Dataset(
        "wn18rr",
        "WN18RR: WordNet without inverse relations",
        "https://github.com/malllabiisc/CompGCN",
        Counts(40_943, 11, 86_835, 3_034, 3_134),
        _parts("wn18rr", f"{_COMPGCN}/data_compressed/WN18RR.zip", is_archive=True),
        TextTable(_WN18RR_TEXT, until=", "),
        TextTable(_WN18RR_TEXT, after=", "),
    ),
    Dataset(
        "umls",
        "UMLS: the Unified Medical Language System's semantic network",
        "https://github.com/TimDettmers/ConvE",
        Counts(135, 46, 5_216, 652, 661),
        _parts("umls", f"{_CONVE}/umls.tar.gz", is_archive=True),
        TextTable(_file("umls/entity2text.txt", f"{_KGBERT}/data/umls/entity2text.txt")),
        TextTable(_file("umls/entity2textlong.txt", f"{_KGBERT}/data/umls/entity2textlong.txt")),
    ),
    Dataset(
        "kinship",
        "Kinship: who calls whom what among the Alyawarra",
        "https://github.com/TimDettmers/ConvE",
        Counts(104, 25, 8_544, 1_068, 1_074),
        _parts("kinship", f"{_CONVE}/kinship.tar.gz", is_archive=True),
    ),
    Dataset(
        "nations",
        "Nations: dealings between fourteen countries",
        "https://github.com/TimDettmers/ConvE",
        Counts(14, 55, 1_592, 199, 201),
        _parts("nations", f"{_CONVE}/nations.tar.gz", is_archive=True),
    ),
    *(
        Dataset(
            f"countries/s{task}",
            f"Countries, task S{task}: in which region a country lies, by rules",
            "https://github.com/TimDettmers/ConvE/tree/master/countries",
            Counts(271, 2, train, 24, 24),
            _parts(f"countries/S{task}"),
        )
        for task, train in ((1, 1_111), (2, 1_063), (3, 985))
    ),
    Dataset(
        "codex-s",
        "CoDEx-S: a small Wikidata set",
        "https://github.com/tsafavi/codex",
        Counts(2_034, 42, 32_888, 1_827, 1_828),
        _parts("codex-s", f"{_CODEX}/data/triples/codex-s"),
        TextTable(_CODEX_S_TEXT, columns=(1, 2), has_header=True, is_quoted=True),
        TextTable(_CODEX_S_TEXT, columns=(1, 4, 5), has_header=True, is_quoted=True),
    ),
    _dbp5l("el", "Greek", Counts(5_231, 960, 8_670, 4_152, 1_017)),
    _dbp5l("en", "English", Counts(13_996, 960, 48_652, 24_051, 7_464)),
    _dbp5l("es", "Spanish", Counts(12_381, 960, 33_036, 16_220, 4_810)),
    _dbp5l("fr", "French", Counts(13_176, 960, 30_139, 14_705, 4_171)),
    _dbp5l("ja", "Japanese", Counts(11_805, 960, 17_979, 8_633, 2_162)),
    _grail("fb237_v1", Counts(1_594, 180, 4_245, 489, 492)),
    _grail("fb237_v1_ind", Counts(1_093, 142, 1_993, 206, 205)),
    _grail("WN18RR_v1", Counts(2_746, 9, 5_410, 630, 638)),
    _grail("WN18RR_v1_ind", Counts(922, 8, 1_618, 185, 188)),
    _grail("nell_v1", Counts(3_103, 14, 4_687, 414, 439)),
    _grail("nell_v1_ind", Counts(225, 14, 833, 101, 100)),
)
DATASETS = {dataset.name: dataset for dataset in _ALL}
DBP5L_LINKS = {
    tuple(pair.split("-")): _file(
        f"dbp-5l/seed_alignlinks/{pair}.tsv", f"{_KENS}/data/seed_alignlinks/{pair}.tsv"
    )
    for pair in (
        "el-en", "el-es", "el-fr", "el-ja", "en-fr", "es-en", "es-fr", "ja-en", "ja-es", "ja-fr",
    )
}  # fmt: skip
