"""The names that a spec string can start with, a line of help each.

They stand here, and not only in the registries, because a help page must not wait for torch to be
imported; a test keeps both equal.
"""

DATASETS = {
    "digits": "8x8 digits that scikit-learn carries, shown at 32 px; nothing is downloaded",
    "cifar10": "60,000 images of 32 px in 10 classes",
    "cifar100": "60,000 images of 32 px in 100 classes",
    "flowers": "Flowers Recognition: 4,317 photographs in 5 classes",
    "flowers102": "Oxford 102 Flowers: 8,189 photographs with their own split",
    "imagefolder": "any folder of class folders, with or without train/val/test above them",
    "csv": "a file with the columns path and label, by choice split and group",
}

IMBALANCES = {
    "none": "keep what there is",
    "exponential": "n_c = n_max * ratio^(-c/(C-1)); option ratio",
    "step": "the last part of the classes has n_max/ratio images; options ratio, fraction",
    "explicit": "the counts themselves, as in explicit:counts=4900/4900/2450",
}

VALIDATIONS = {
    "none": "none, as the papers do: the last epoch counts",
    "stratified": "a share of every class of the long-tailed training set; option fraction",
    "balanced": "the same number of every class, cut before the tail is; option per_class",
}

MODELS = {
    "resnet18": "ResNet-18, with a 3x3 stem up to 64 px",
    "resnet20": "the CIFAR ResNet with 20 layers, 0.27 M parameters",
    "resnet32": "the CIFAR ResNet of the long-tail papers, 0.46 M parameters",
    "resnet44": "the CIFAR ResNet with 44 layers, 0.66 M parameters",
    "resnet56": "the CIFAR ResNet with 56 layers, 0.85 M parameters",
    "efficientnet_b0": "EfficientNet-B0",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_large": "MobileNetV3-Large",
    "vgg16": "VGG-16",
    "custom_cnn": "four blocks of two 3x3 convolutions; options dropout, se",
    "unet": "U-Net encoder with a dense classifier, decoder by autoencoder; option width",
    "mobilenet_v2_autoencoder": "MobileNetV2, decoder of transposed convolutions by autoencoder",
}

HEADS = {
    "auto": "cosine for ldam, else last",
    "last": "only the last Linear is new, the model's layers before it stay",
    "linear": "one Linear on the pooled maps",
    "mlp": "a hidden layer on the pooled maps; options hidden, dropout",
    "cosine": "cosines of normalised features and weights, for ldam; option scale",
}

FREEZES = {
    "none": "everything trains",
    "head_only": "the head alone trains",
    "partial": "the head and the last blocks; option blocks",
    "gradual": "from the head downwards over the training; options start, end (fractions of it)",
}

AUTOENCODERS = {
    "off": "the classifier alone",
    "joint": "one loss: classification + weight * squared error of the decoder; option weight",
    "separate": "the autoencoder first, then the classifier on the frozen encoder, `epochs` each",
}

LOSSES = {
    "cross_entropy": "softmax cross-entropy, with label_smoothing by choice",
    "focal": "down-weights what is already easy; option gamma",
    "sigmoid": "one binary cross-entropy for each class",
    "sigmoid_focal": "focal on sigmoids; option gamma",
    "ldam": "larger margins for rarer classes on a cosine head; options max_m, s",
    "balanced_softmax": "softmax with the class counts in it",
    "logit_adjusted": "logits shifted by tau * log prior while training; option tau",
    "vs": "vector scaling: logits shifted and scaled for each class; options gamma, tau",
    "label_aware_smoothing": "more smoothing for frequent classes, made for stage 2",
}

CLASS_WEIGHTS = {
    "none": "every class weighs the same",
    "balanced": "1 / n_c",
    "effective": "1 / effective number of samples; option beta",
    "inverse_sqrt": "1 / sqrt(n_c)",
}

SAMPLERS = {
    "shuffle": "every image once an epoch",
    "class_balanced": "every class equally often, with replacement",
    "power": "class frequency ~ n_c^q; 0.5 is square-root sampling; option q",
    "progressive": "from the data's frequencies to equal ones over the training",
    "random_over": "rare classes repeated up to the largest",
    "random_under": "frequent classes cut down to the smallest, drawn anew each epoch",
    "error_driven": "classes that validation gets wrong are drawn more often",
}

AUGMENTATIONS = {
    "flip": "left-right, every second image",
    "crop": "shift by up to `padding` pixels over a black border; option padding",
    "cutout": "hide one square; options size, fill",
    "rotate90": "a multiple of 90 degrees",
    "rotation": "by up to `degrees`; option degrees",
    "rand_augment": "n random operations of strength m",
    "trivial_augment": "one random operation of random strength",
    "auto_augment": "the CIFAR-10 policy (learnt on the balanced set)",
}

MIXES = {
    "none": "no mixing",
    "mixup": "convex mixtures of two images and their labels; option alpha",
    "cutmix": "a box of one image in another; option alpha",
    "remix": "mixup whose label favours the rarer class; options alpha, kappa, tau",
}

RESAMPLES = {
    "none": "the images as they are",
    "smote": "new minority images between neighbours, on pixels; option k",
}

TAIL_AUGMENTS = {
    "none": "all classes augmented alike",
    "trivial": "a further random operation, the more often the rarer the class; option p",
}

STAGES = {
    "none": "one stage",
    "crt": "classifier re-training: a new head on frozen features; options epochs, lr",
    "lws": "learnable weight scaling: one factor a class on the frozen head; options epochs, lr",
    "las": "label-aware smoothing, stage 2 of MiSLAS; options epochs, smooth_head, shift_bn",
}

OPTIMIZERS = {
    "sgd": "SGD with Nesterov momentum; options momentum, nesterov",
    "adam": "Adam",
    "adamw": "Adam with decoupled weight decay",
    "rmsprop": "RMSprop",
}

SCHEDULES = {
    "constant": "the same lr throughout",
    "cosine": "half a cosine down to 0",
    "cosine_restarts": "several cosines one after the other",
    "step": "times gamma at each of the milestones (fractions of the training)",
    "plateau": "times factor when the validation metric has not risen for `patience` epochs",
}

ANALYSES = {
    "none": "nothing beyond the metrics",
    "standard": "all but feature_maps, occlusion and deletion",
    "all": "all of them",
    "predictions": "the test predictions as Parquet",
    "intervals": "95 % bootstrap intervals of the test metrics",
    "confusion": "confusion matrices, recall against class frequency",
    "errors": "confused pairs, grids of misclassified images, recall over the epochs",
    "curves": "ROC and precision-recall curve of each class",
    "calibration": "whether the probabilities mean what they say",
    "complexity": "parameters, multiplications, latency, memory",
    "pca": "principal components of the features",
    "tsne": "t-SNE of the features",
    "umap": "UMAP of the features",
    "gradcam": "Grad-CAM of misclassified and of right images",
    "feature_maps": "activations of the explained layers",
    "occlusion": "probability while a part of the image is hidden",
    "deletion": "does hiding the most salient part hurt more than hiding another?",
}
