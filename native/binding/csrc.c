#include "relay_native.h"
