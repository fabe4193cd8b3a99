"""The registry: every named choice once, with a line of help and the address of its function.

An entry is all that the rest of the program needs to know of a choice: help pages, documentation,
the rules of `compatibility` and the search space read it here. A function is imported when it is
used, so that no help page waits for torch. To add a loss, write the function, one entry and a test.
"""

from __future__ import annotations

from imbalance_study.config.choice import Choice

# fmt: off
DATASETS: dict[str, Choice] = {
    "digits": Choice("8x8 digits of scikit-learn, shown at 32 px; nothing is downloaded",
                     "imbalance_study.data.datasets:digits"),
    "cifar10": Choice("60,000 images of 32 px in 10 classes",
                      "imbalance_study.data.datasets:cifar10", traits=("own_test_set",)),
    "cifar100": Choice("60,000 images of 32 px in 100 classes",
                       "imbalance_study.data.datasets:cifar100", traits=("own_test_set",)),
    "flowers": Choice("Flowers Recognition: 4,317 photographs in 5 classes",
                      "imbalance_study.data.datasets:flowers"),
    "flowers102": Choice("Oxford 102 Flowers: 8,189 photographs with their own split",
                         "imbalance_study.data.datasets:flowers102", traits=("own_test_set",)),
    "imagefolder": Choice("any folder or zip file of class folders, with or without parts",
                          "imbalance_study.data.datasets:imagefolder"),
    "csv": Choice("a table of files and labels, and optionally parts and groups",
                  "imbalance_study.data.datasets:table"),
}

IMBALANCES: dict[str, Choice] = {
    "none": Choice("keeps every image", "imbalance_study.data.longtail:no_imbalance"),
    "exponential": Choice("n_c = n_max * ratio^(-c/(C-1))",
                          "imbalance_study.data.longtail:exponential", "ratio=100"),
    "step": Choice("gives the last fraction of the classes n_max/ratio images",
                   "imbalance_study.data.longtail:step", "ratio=100,fraction=0.5"),
    "published": Choice("exponential, with the very images of LDAM-DRW's code; CIFAR archive only",
                        "imbalance_study.data.longtail:published", "ratio=100"),
    "explicit": Choice("takes the class counts as given",
                       "imbalance_study.data.longtail:explicit", "counts=4900/4900/2450"),
}

VALIDATIONS: dict[str, Choice] = {
    "none": Choice("no validation images, as in the papers: the last epoch counts",
                   "imbalance_study.data.longtail:no_validation"),
    "stratified": Choice("takes a share of each class of the long-tailed training set",
                         "imbalance_study.data.longtail:stratified", "fraction=0.1"),
    "balanced": Choice("takes the same number of each class, before the tail is cut",
                       "imbalance_study.data.longtail:balanced", "per_class=50"),
}

MODELS: dict[str, Choice] = {
    "resnet18": Choice("ResNet-18, with a 3x3 stem up to 64 px",
                       "imbalance_study.models.zoo:resnet18"),
    "resnet20": Choice("the CIFAR ResNet with 20 layers, 0.27 M parameters",
                       "imbalance_study.models.resnet_cifar:resnet20", traits=("small_stem",)),
    "resnet32": Choice("the CIFAR ResNet of the long-tail papers, 0.46 M parameters",
                       "imbalance_study.models.resnet_cifar:resnet32", traits=("small_stem",)),
    "resnet44": Choice("the CIFAR ResNet with 44 layers, 0.66 M parameters",
                       "imbalance_study.models.resnet_cifar:resnet44", traits=("small_stem",)),
    "resnet56": Choice("the CIFAR ResNet with 56 layers, 0.85 M parameters",
                       "imbalance_study.models.resnet_cifar:resnet56", traits=("small_stem",)),
    "efficientnet_b0": Choice("EfficientNet-B0", "imbalance_study.models.zoo:efficientnet_b0",
                              "dropout=0.2,stochastic_depth_prob=0.2"),
    "efficientnet_lite0": Choice(
        "EfficientNet-Lite0; weights=imagenet needs no network",
        "imbalance_study.models.efficientnet_lite:efficientnet_lite0", "dropout=0.2",
        traits=("imagenet_stem",)),
    "mobilenet_v2": Choice("MobileNetV2", "imbalance_study.models.zoo:mobilenet_v2", "dropout=0.2"),
    "mobilenet_v3_large": Choice("MobileNetV3-Large",
                                 "imbalance_study.models.zoo:mobilenet_v3_large", "dropout=0.2"),
    "vgg16": Choice("VGG-16", "imbalance_study.models.zoo:vgg16", "dropout=0.5"),
    "custom_cnn": Choice("four blocks of two 3x3 convolutions",
                         "imbalance_study.models.custom_cnn:custom_cnn", "dropout=0.5,se=true",
                         traits=("small_stem",)),
    "unet": Choice("U-Net encoder with a dense classifier; autoencoder trains its decoder",
                   "imbalance_study.models.autoencoder:unet", "width=32",
                   traits=("decoder", "small_stem")),
    "mobilenet_v2_autoencoder": Choice(
        "MobileNetV2; autoencoder trains its decoder of transposed convolutions",
        "imbalance_study.models.autoencoder:mobilenet_v2_autoencoder", "dropout=0.2",
        traits=("decoder",)),
}

NORMALISATIONS: dict[str, Choice] = {
    "auto": Choice("takes those of the weights, else data"),
    "data": Choice("takes those of the training pixels"),
    "imagenet": Choice("takes those of ImageNet, which torchvision's weights expect",
                       "imbalance_study.models.normalisation:imagenet"),
    "values": Choice("takes the given ones in 0..1: one number, or one a channel",
                     "imbalance_study.models.normalisation:values",
                     "mean=0.5,std=0.25/0.25/0.25"),
}

HEADS: dict[str, Choice] = {
    "auto": Choice("cosine for ldam, else last"),
    "last": Choice("replaces the last Linear alone; the layers before it stay",
                   "imbalance_study.models.heads:last"),
    "linear": Choice("one Linear on the pooled maps", "imbalance_study.models.heads:linear",
                     traits=("pooled",)),
    "mlp": Choice("a hidden layer on the pooled maps", "imbalance_study.models.heads:mlp",
                  "hidden=256,dropout=0.5", traits=("pooled",)),
    "cosine": Choice("cosines between normalised features and weights, for ldam",
                     "imbalance_study.models.heads:cosine", "scale=16"),
}

FREEZES: dict[str, Choice] = {
    "none": Choice("trains everything"),
    "head_only": Choice("trains the head alone", "imbalance_study.models.freezing:head_only"),
    "partial": Choice("trains the head and the last blocks",
                      "imbalance_study.models.freezing:partial", "blocks=1"),
    "gradual": Choice("thaws block after block from the head down; start and end are fractions of "
                      "the training", "imbalance_study.models.freezing:gradual",
                      "start=0.1,end=0.6"),
}

AUTOENCODERS: dict[str, Choice] = {
    "off": Choice("trains the classifier alone"),
    "joint": Choice("adds weight * squared error of the decoder to the loss of the classifier",
                    "imbalance_study.models.autoencoder:joint", "weight=1"),
    "separate": Choice("trains the autoencoder first, then the classifier on the frozen encoder, "
                       "`epochs` each", "imbalance_study.models.autoencoder:separate"),
}

LOSSES: dict[str, Choice] = {
    "cross_entropy": Choice(
        "softmax cross-entropy; label_smoothing goes with it",
        "imbalance_study.training.losses:cross_entropy",
        paper="Szegedy et al. 2016, arXiv:1512.00567", traits=("smoothable", "searched")),
    "focal": Choice(
        "down-weights easy examples",
        "imbalance_study.training.losses:focal", "gamma=2",
        "Lin et al. 2017, arXiv:1708.02002", ("searched",)),
    "sigmoid": Choice(
        "takes one binary cross-entropy for each class",
        "imbalance_study.training.losses:sigmoid",
        paper="Cui et al. 2019, arXiv:1901.05555", traits=("sigmoid",)),
    "sigmoid_focal": Choice(
        "focal loss on one sigmoid for each class",
        "imbalance_study.training.losses:sigmoid_focal", "gamma=1",
        "Lin et al. 2017, arXiv:1708.02002", ("sigmoid", "searched")),
    "ldam": Choice(
        "sets larger margins for rarer classes, on a cosine head",
        "imbalance_study.training.losses:ldam", "max_m=0.5,s=30",
        "Cao et al. 2019, arXiv:1906.07413", ("cosine", "searched")),
    "balanced_softmax": Choice(
        "weighs each class in the softmax by its count",
        "imbalance_study.training.losses:balanced_softmax",
        paper="Ren et al. 2020, arXiv:2007.10740", traits=("correcting", "searched")),
    "logit_adjusted": Choice(
        "shifts the logits by tau * log prior while training",
        "imbalance_study.training.losses:logit_adjusted", "tau=1",
        "Menon et al. 2021, arXiv:2007.07314", ("correcting", "searched")),
    "vs": Choice(
        "vector scaling: shifts and scales the logits of each class",
        "imbalance_study.training.losses:vs", "gamma=0.15,tau=1.25",
        "Kini et al. 2021, arXiv:2103.01550", ("correcting", "searched")),
    "label_aware_smoothing": Choice(
        "smooths the labels of frequent classes more; made for stage2",
        "imbalance_study.training.losses:label_aware_smoothing", "smooth_head=0.3",
        "Zhong et al. 2021, arXiv:2104.00466"),
}

CLASS_WEIGHTS: dict[str, Choice] = {
    "none": Choice("weighs all classes alike", "imbalance_study.training.class_weights:no_weights"),
    "effective": Choice(
        "1 / effective number of samples of the class",
        "imbalance_study.training.class_weights:effective_weights", "beta=0.9999",
        "Cui et al. 2019, arXiv:1901.05555", ("searched",)),
    "balanced": Choice(
        "1 / n_c, with n_c images of the class",
        "imbalance_study.training.class_weights:balanced_weights",
        paper="Cui et al. 2019, arXiv:1901.05555", traits=("searched",)),
    "inverse_sqrt": Choice(
        "1 / sqrt(n_c)",
        "imbalance_study.training.class_weights:inverse_sqrt_weights",
        paper="Mahajan et al. 2018, arXiv:1805.00932", traits=("searched",)),
}

SAMPLERS: dict[str, Choice] = {
    "shuffle": Choice("draws every image once an epoch", "imbalance_study.data.samplers:shuffle"),
    "class_balanced": Choice(
        "draws every class equally often, with replacement",
        "imbalance_study.data.samplers:class_balanced",
        paper="Kang et al. 2020, arXiv:1910.09217", traits=("searched",)),
    "power": Choice(
        "draws classes in proportion to n_c^q; q=0.5 is square-root sampling",
        "imbalance_study.data.samplers:power", "q=0.5",
        "Mahajan et al. 2018, arXiv:1805.00932", ("searched",)),
    "progressive": Choice(
        "moves from the frequencies of the data to equal ones during the training",
        "imbalance_study.data.samplers:progressive",
        paper="Kang et al. 2020, arXiv:1910.09217", traits=("searched",)),
    "random_over": Choice(
        "repeats rare classes up to the size of the largest",
        "imbalance_study.data.samplers:random_over",
        paper="imbalanced-learn, https://jmlr.org/papers/v18/16-365.html", traits=("searched",)),
    "random_under": Choice(
        "cuts frequent classes down to the size of the smallest, anew each epoch",
        "imbalance_study.data.samplers:random_under",
        paper="imbalanced-learn, https://jmlr.org/papers/v18/16-365.html"),
    "error_driven": Choice(
        "draws classes with more validation errors more often",
        "imbalance_study.data.samplers:error_driven", "floor=0.2",
        "Pouyanfar et al. 2018", ("uses_validation",)),
}

AUGMENTATIONS: dict[str, Choice] = {
    "flip": Choice(
        "mirrors every second image left to right",
        "imbalance_study.data.augment:flip", paper="He et al. 2016, arXiv:1512.03385"),
    "crop": Choice(
        "shifts by up to `padding` pixels over a black border",
        "imbalance_study.data.augment:crop", "padding=4", "He et al. 2016, arXiv:1512.03385"),
    "cutout": Choice(
        "hides one square",
        "imbalance_study.data.augment:cutout", "size=16,fill=128",
        "DeVries and Taylor 2017, arXiv:1708.04552", ("searched",)),
    "rotate90": Choice("turns by a multiple of 90 degrees",
                       "imbalance_study.data.augment:rotate90"),
    "rotation": Choice("turns by up to `degrees`",
                       "imbalance_study.data.augment:rotation", "degrees=10"),
    "trivial_augment": Choice(
        "applies one random operation of random strength to each image",
        "imbalance_study.data.auto_augment:trivial_augment",
        paper="Müller and Hutter 2021, arXiv:2103.10158", traits=("searched",)),
    "rand_augment": Choice(
        "applies n random operations of strength m to each image",
        "imbalance_study.data.auto_augment:rand_augment", "n=2,m=9",
        "Cubuk et al. 2020, arXiv:1909.13719", ("searched",)),
    "auto_augment": Choice(
        "applies the policy for CIFAR-10, which was learnt on the balanced set",
        "imbalance_study.data.auto_augment:auto_augment",
        paper="Cubuk et al. 2019, arXiv:1805.09501"),
}

MIXES: dict[str, Choice] = {
    "none": Choice("mixes nothing"),
    "mixup": Choice(
        "blends two images and their labels",
        "imbalance_study.data.mixing:mixup", "alpha=1", "Zhang et al. 2018, arXiv:1710.09412",
        ("searched",)),
    "cutmix": Choice(
        "pastes a box of one image into another, and mixes the labels by area",
        "imbalance_study.data.mixing:cutmix", "alpha=1,p=0.5",
        "Yun et al. 2019, arXiv:1905.04899", ("searched",)),
    "remix": Choice(
        "mixup with a label that favours the rarer class",
        "imbalance_study.data.mixing:remix", "alpha=1,kappa=3,tau=0.5",
        "Chou et al. 2020, arXiv:2007.03943", ("searched",)),
    "cmo": Choice(
        "pastes a box of a rare class into an image as it comes",
        "imbalance_study.data.mixing:cmo", "alpha=1,p=0.5,power=1",
        "Park et al. 2022, arXiv:2112.00412"),
}

RESAMPLES: dict[str, Choice] = {
    "none": Choice("keeps the images as they are"),
    "smote": Choice(
        "makes new images of rare classes between neighbours, on pixels, once",
        "imbalance_study.data.smote:smote", "k=5", "Chawla et al. 2002, arXiv:1106.1813"),
}

TAIL_AUGMENTS: dict[str, Choice] = {
    "none": Choice("augments all classes alike"),
    "trivial": Choice(
        "applies one more random operation, more often to rarer classes",
        "imbalance_study.data.auto_augment:tail_trivial", "p=0.8",
        "after Müller and Hutter 2021, arXiv:2103.10158"),
}

STAGES: dict[str, Choice] = {
    "none": Choice("trains in one stage"),
    "crt": Choice(
        "classifier re-training: a new head on frozen features, classes drawn equally often",
        "imbalance_study.training.second_stage:crt", "epochs=10,lr=0.1",
        "Kang et al. 2020, arXiv:1910.09217"),
    "lws": Choice(
        "learnable weight scaling: one factor for each class on the frozen head",
        "imbalance_study.training.second_stage:lws", "epochs=10,lr=0.1",
        "Kang et al. 2020, arXiv:1910.09217"),
    "las": Choice(
        "label-aware smoothing, stage 2 of MiSLAS: the head goes on learning",
        "imbalance_study.training.second_stage:las", "epochs=10,smooth_head=0.3,shift_bn=true",
        "Zhong et al. 2021, arXiv:2104.00466"),
    "maxnorm": Choice(
        "weight balancing: the head goes on with strong weight decay and a cap on its weights",
        "imbalance_study.training.second_stage:maxnorm", "epochs=10,threshold=0.1,weight_decay=0.1",
        "Alshammari et al. 2022, arXiv:2203.14197"),
    "los": Choice(
        "label over-smoothing: the head goes on with nearly flat labels",
        "imbalance_study.training.second_stage:los", "epochs=20,smoothing=0.98",
        "Sun et al. 2025, ICLR"),
}

OPTIMIZERS: dict[str, Choice] = {
    "sgd": Choice("SGD with Nesterov momentum", "imbalance_study.training.optim:sgd",
                  "momentum=0.9,nesterov=true,sam=0.05", traits=("searched",)),
    "adam": Choice("Adam", "imbalance_study.training.optim:adam", "beta1=0.9,beta2=0.999"),
    "adamw": Choice("Adam with decoupled weight decay", "imbalance_study.training.optim:adamw",
                    "beta1=0.9,beta2=0.999", traits=("searched",)),
    "rmsprop": Choice("RMSprop", "imbalance_study.training.optim:rmsprop", "alpha=0.99"),
}

SCHEDULES: dict[str, Choice] = {
    "constant": Choice("keeps the lr", "imbalance_study.training.schedules:constant"),
    "cosine": Choice("falls to 0 along half a cosine", "imbalance_study.training.schedules:cosine"),
    "cosine_restarts": Choice("runs several cosines, one after the other",
                              "imbalance_study.training.schedules:cosine_restarts",
                              "cycles=3,multiplier=2"),
    "step": Choice("multiplies by gamma at each milestone (fractions of the training)",
                   "imbalance_study.training.schedules:step", "milestones=0.8/0.9,gamma=0.01"),
    "plateau": Choice("multiplies by factor after `patience` epochs without a better metric",
                      "imbalance_study.training.schedules:plateau", "factor=0.1,patience=5",
                      traits=("uses_validation",)),
}

# The groups none, standard and all have no function of their own. Trait `part`: another analysis
# contains it, so that `all` leaves it out.
ANALYSES: dict[str, Choice] = {
    "none": Choice("computes nothing beyond the metrics"),
    "standard": Choice("runs all but feature_maps, occlusion and deletion",
                       traits=("layers", "coloured")),
    "all": Choice("runs all of them", traits=("layers", "coloured")),
    "predictions": Choice("the test predictions as Parquet",
                          "imbalance_study.experiment.analyses.classification:predictions",
                          traits=("standard",)),
    "quick_intervals": Choice("intervals without those of the areas under curves",
                              "imbalance_study.experiment.analyses.classification:quick_intervals",
                              traits=("part",)),
    "intervals": Choice("95 % intervals of the test metrics",
                        "imbalance_study.experiment.analyses.classification:confidence_intervals",
                        traits=("standard",)),
    "per_class": Choice("the table of confusion, without its figures",
                        "imbalance_study.experiment.analyses.classification:per_class",
                        traits=("part",)),
    "confusion": Choice("a table of the classes, confusion matrices, recall against frequency",
                        "imbalance_study.experiment.analyses.classification:confusion",
                        traits=("standard",)),
    "errors": Choice("confused pairs, grids of misclassified images, recall over the epochs",
                     "imbalance_study.experiment.analyses.classification:mistakes",
                     traits=("standard",)),
    "curves": Choice("ROC and precision-recall curve of each class",
                     "imbalance_study.experiment.analyses.classification:curves",
                     traits=("standard",)),
    "calibration": Choice("reliability of the probabilities",
                          "imbalance_study.experiment.analyses.classification:reliability",
                          traits=("standard",)),
    "complexity": Choice("parameters, multiplications, latency, memory",
                         "imbalance_study.experiment.analyses.costs:costs",
                         traits=("standard",)),
    "pca": Choice("principal components of the features",
                  "imbalance_study.experiment.analyses.features:features", traits=("standard",)),
    "tsne": Choice("t-SNE of the features",
                   "imbalance_study.experiment.analyses.features:features", traits=("standard",)),
    "umap": Choice("UMAP of the features",
                   "imbalance_study.experiment.analyses.features:features", traits=("standard",)),
    "gradcam": Choice("Grad-CAM of misclassified and of correctly classified images",
                      "imbalance_study.experiment.analyses.attribution:gradcam",
                      traits=("standard", "layers", "coloured")),
    "feature_maps": Choice("activations of the explained layers",
                           "imbalance_study.experiment.analyses.attribution:feature_map_figures",
                           traits=("layers", "coloured")),
    "occlusion": Choice("probability of the class while a part of the image is hidden",
                        "imbalance_study.experiment.analyses.attribution:occlusions",
                        traits=("coloured",)),
    "deletion": Choice("loss of probability when the most salient part is hidden, or another part",
                       "imbalance_study.experiment.analyses.attribution:deletions",
                       traits=("layers", "coloured")),
}
# fmt: on
