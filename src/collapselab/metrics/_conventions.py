"""Which paper means which number: the conventions of the literature as data, for the documentation and for `cite`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Convention:
    """What a paper, or the code published with it, computes under a name.

    Attributes:
        paper: Key in ``references.bib``.
        quantity: What the paper calls it.
        metric: Key of the metric that computes it here.
        remark: Weighting, centring and normalisation that decide the number.
    """

    paper: str
    quantity: str
    metric: str
    remark: str


_BALANCED = "classes are equally large there, so that the weightings agree"

CONVENTIONS: tuple[Convention, ...] = (
    Convention("papyan2020", "NC1", "nc1_pinv", "tr(Sigma_W Sigma_B^+)/K; " + _BALANCED),
    Convention("papyan2020", "NC1 in the published notebook", "nc1_pinv_sum", "the same without 1/K"),
    Convention(
        "papyan2020", "NC2, equal norms of means", "nc2_equinorm_means", "sd/mean, sd divided by K - 1; centred"
    ),
    Convention("papyan2020", "NC2, equal norms of weights", "nc2_equinorm_weights", "as for means, rows not centred"),
    Convention("papyan2020", "NC2, equal angles of means", "nc2_equiangularity_means", "sd of cosines; centred"),
    Convention(
        "papyan2020", "NC2, equal angles of weights", "nc2_equiangularity_weights", "sd of cosines; not centred"
    ),
    Convention("papyan2020", "NC2, maximal angles of means", "nc2_max_angle_means", "mean |cos + 1/(K-1)|; centred"),
    Convention("papyan2020", "NC2, maximal angles of weights", "nc2_max_angle_weights", "the same; rows not centred"),
    Convention("papyan2020", "NC3", "nc3_duality", "squared; weights not centred, means centred"),
    Convention("papyan2020", "NC4", "nc4_disagreement", "with the network's decision, not with the label"),
    Convention(
        "fang2021", "minority collapse", "minority_cosine_weights", "mean cosine; rows of minority classes, not centred"
    ),
    Convention("zhu2021", "NC1", "nc1_pinv", "tr(Sigma_W Sigma_B^+)/K; " + _BALANCED),
    Convention(
        "zhu2021", "NC1 under imbalance", "nc1_pinv_sample_weighted", "the published code centres at samples' mean"
    ),
    Convention("zhu2021", "NC2", "etf_error_weights", "Gram matrix of the classifier against the simplex, not centred"),
    Convention("zhu2021", "NC3", "duality_error", "W times the centred means against the simplex"),
    Convention("zhu2021", "NC3, bias", "bias_collapse", "|W mu_G + b|"),
    Convention("han2022", "NC1", "nc1_pinv", "as in Papyan et al. 2020; " + _BALANCED),
    Convention("tirer2022", "NC1", "nc1_trace_ratio", "tr Sigma_W / tr Sigma_B, no pseudo-inverse; " + _BALANCED),
    Convention("rangamani2023", "NC1 of a layer", "nc1_pinv", "equal to tr(Sigma_W Sigma_B^+)/K only if balanced"),
    Convention("jiang2023", "GNC1", "generalised_nc1", "tr(Sigma_W Sigma_B^+)/K of features divided by their norms"),
    Convention(
        "jiang2023", "GNC2", "generalised_nc2", "smallest distance from the hull of the rest; a descent gives a bound"
    ),
    Convention("jiang2023", "GNC3", "generalised_nc3", "mean of 1 - cosine; weights not centred, means centred"),
    Convention("he2023", "separation fuzziness", "fuzziness", "tr(SS_W SS_B^+), both over samples, no 1/K"),
    Convention("galanti2021", "CDNV", "cdnv", "(v_i + v_j) / (2 D^2), mean over pairs"),
    Convention("galanti2022", "CDNV", "cdnv_ordered", "v_i / D^2, mean over ordered pairs: the same mean, other pairs"),
    Convention("luthra2025", "CDNV", "cdnv_unhalved", "(v_i + v_j) / D^2: twice the half-symmetric number"),
    Convention(
        "luthra2025", "directional CDNV", "directional_cdnv", "variance along the line between two means, / D^2"
    ),
    Convention("wu2024", "CDNV", "cdnv", "there over D^4, which has a unit: it mostly shows the norm of the features"),
    Convention("wu2024", "GNC2", "uniformity_mean", "mean of -log distance of directions; its variance beside it"),
    Convention("wu2024", "GNC2, variance", "uniformity_variance", "over pairs"),
    Convention("wu2024", "NC2, ETF error", "etf_error", "of the Gram matrix of centred means"),
    Convention("wu2024", "self-duality error", "duality_error", "of W times the centred means, against the simplex"),
    Convention("wu2024", "UNC3", "unc3_variance", "variance over classes of the cosines; unc3_mean is their mean"),
    Convention("wu2024", "UNC3 of inner products", "unc3_dot_variance", "variance over classes of <w_k, mu_k - mu_G>"),
    Convention("wu2024", "NC4", "nc4_disagreement", "there 1 minus it, and the classifier's bias is left out"),
    Convention("liu2023", "hyperspherical uniformity", "uniformity_mean", "the logarithmic kernel (s = 0) of several"),
    Convention(
        "kornblith2021", "class separation R^2", "class_separation_r2", "cosine distances, features not centred"
    ),
    Convention("xu2023", "VCI", "vci", "both covariances over samples; divided by the rank of Sigma_B"),
    Convention("bao2019", "H-score", "h_score", "both covariances over samples; rank times (1 - vci)"),
    Convention("yu2020", "R", "coding_rate", "unit features, not centred, eps^2 = 0.5, natural logarithm"),
    Convention("yu2020", "R_c", "coding_rate_classes", "the same precision for every class, weights n_k / N"),
    Convention("yu2020", "Delta R", "coding_rate_reduction", "R - R_c"),
    Convention("roy2007", "effective rank", "effective_rank", "of the covariance: its singular values are variances"),
    Convention("gao2017", "dimensionality", "participation_ratio", "here of the within-class covariance"),
)
