"""Helper library of the executable companion to anand2022.

The public names; everything else is reached through its module.
"""

from fmlib.attacks import fgsm as fgsm
from fmlib.attacks import pgd as pgd
from fmlib.attacks import released_perturbation as released_perturbation
from fmlib.attacks import restarted_pgd as restarted_pgd
from fmlib.attacks import sign_noise as sign_noise
from fmlib.attacks import square_attack as square_attack
from fmlib.caching import PRINTED as PRINTED
from fmlib.caching import RELEASED as RELEASED
from fmlib.caching import CacheConfig as CacheConfig
from fmlib.caching import FeatureCache as FeatureCache
from fmlib.data import Dataset as Dataset
from fmlib.data import load as load
from fmlib.ensembles import fit_many as fit_many
from fmlib.exploration import centroid_distances as centroid_distances
from fmlib.exploration import centroids as centroids
from fmlib.exploration import knn_accuracy as knn_accuracy
from fmlib.exploration import outliers as outliers
from fmlib.features import cosine_similarity as cosine_similarity
from fmlib.features import energy as energy
from fmlib.features import feature_maps as feature_maps
from fmlib.features import feature_vectors as feature_vectors
from fmlib.map_images import map_training_set as map_training_set
from fmlib.models import base_cnn as base_cnn
from fmlib.models import fashion_cnn as fashion_cnn
from fmlib.similarity import convolutional_similarity as convolutional_similarity
from fmlib.skipping import InfoBatch as InfoBatch
from fmlib.skipping import RandomSkip as RandomSkip
from fmlib.skipping import SelectiveBackprop as SelectiveBackprop
from fmlib.training import History as History
from fmlib.training import TrainConfig as TrainConfig
from fmlib.training import evaluate as evaluate
from fmlib.training import fit as fit
