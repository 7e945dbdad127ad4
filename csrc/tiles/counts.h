// Likelihoods of counts, terms all of them.
#pragma once

#include "math/counts.h"
#include "tiles/terms.h"
