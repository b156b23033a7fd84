"""Whether more or less of a metric is better, guessed from its name; a guess is always told as one."""

from __future__ import annotations

import re
from itertools import pairwise

from processor.dashboard.statistics.results import Better, Direction

_TOKENS = re.compile(r"[A-Za-z]+|\d+")
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_HIGHER = frozenset(
    {
        "accuracy",
        "acc",
        "auc",
        "auroc",
        "auprc",
        "roc",
        "rocauc",
        "prauc",
        "f1",
        "fscore",
        "fbeta",
        "dice",
        "iou",
        "jaccard",
        "precision",
        "recall",
        "sensitivity",
        "specificity",
        "r2",
        "reward",
        "return",
        "bleu",
        "rouge",
        "meteor",
        "map",
        "ndcg",
        "mrr",
        "kappa",
        "mcc",
        "correlation",
        "pearson",
        "spearman",
        "throughput",
        "success",
        "likelihood",
        "elbo",
        "psnr",
        "ssim",
        "hits",
        "coverage",
        "lift",
        "gain",
        "utility",
        "fitness",
    }
)
_LOWER = frozenset(
    {
        "loss",
        "error",
        "err",
        "errors",
        "mse",
        "rmse",
        "mae",
        "mape",
        "rmsle",
        "nll",
        "perplexity",
        "ppl",
        "entropy",
        "crossentropy",
        "divergence",
        "kl",
        "latency",
        "duration",
        "time",
        "seconds",
        "ms",
        "cost",
        "wer",
        "cer",
        "fid",
        "brier",
        "regret",
        "distance",
        "deviation",
        "memory",
        "bytes",
        "params",
        "flops",
        "ece",
        "logloss",
        "residual",
        "variance",
        "penalty",
        "overfitting",
        "gap",
        "energy",
    }
)
#: scikit-learn's scorers: "neg_mean_squared_error" is better when higher
_NEGATIONS = frozenset({"neg", "negative", "minus"})
#: what may stand between a negation and what it turns round; a negative class or sample turns nothing
_BETWEEN = frozenset(
    {
        "mean",
        "log",
        "squared",
        "absolute",
        "root",
        "median",
        "max",
        "percentage",
        "average",
        "avg",
        "val",
        "test",
        "train",
    }
)
_PAIRS = {
    ("false", "positive"): "lower",
    ("false", "negative"): "lower",
    ("true", "positive"): "higher",
    ("explained", "variance"): "higher",
    ("davies", "bouldin"): "lower",
}
#: what a name is about stands before these: `time_to_accuracy` is a time, `loss_per_token` a loss
_BEFORE = frozenset({"to", "per"})
#: of these it is not said which way is better: the spread of an accuracy, what a loss has come down by
_UNSURE = frozenset({"std", "stddev", "drop", "reduction", "improvement"})


UNKNOWN = Direction("unknown", "no word of the name says which values are better: choose one")


def guess_direction(metric: str) -> Direction:
    """By the last word of the name that says anything: `val_loss` is a loss, `loss_accuracy` an accuracy."""
    words = [word for token in _TOKENS.findall(metric) for word in _words_of(token)]
    words = [*words, *(f"{word}{number}" for word, number in pairwise(words) if number.isdigit())]
    words = words[: next((place for place, word in enumerate(words) if place and word in _BEFORE), len(words))]
    if not _UNSURE.isdisjoint(words):
        return UNKNOWN
    for pair, better in _PAIRS.items():
        if pair in pairwise(words):
            return _told(better, " ".join(pair))
    for place, word in reversed(list(enumerate(words))):
        if word in _HIGHER or word in _LOWER:
            negation = _negation(words[:place])
            higher = (word in _HIGHER) != bool(negation)
            return _told("higher" if higher else "lower", f"{negation} {word}".strip())
    if "score" in words:  # an error or a Brier score is one, too: of a score as such nothing else is known
        negation = _negation(words[: words.index("score")])
        return _told("lower" if negation else "higher", f"{negation} score".strip())
    return UNKNOWN


def _words_of(token: str) -> list[str]:
    """`mAP` is one word, `valLoss` are two."""
    known = token.lower() in _HIGHER or token.lower() in _LOWER
    return [token.lower()] if known else [word.lower() for word in _WORDS.findall(token)]


def _negation(before: list[str]) -> str:
    """The word that turns round what stands behind these, or ""."""
    rest = [word for word in before if word not in _BETWEEN]
    if not rest or rest[-1] not in _NEGATIONS or rest[-2:-1] == ["non"]:
        return ""
    return rest[-1]


def _told(better: str, word: str) -> Direction:
    side: Better = "higher" if better == "higher" else "lower"
    return Direction(side, f"guessed from the word {word} in the metric's name")
