// Which keys a query sees: all of its sequence, or with a causal mask, which is aligned to the bottom right, the last
// query all of them and each before it one key fewer.
#pragma once

#include "../device.h"

namespace glm4v::cuda {

struct Visibility {
  int queries, keys;  // of the sequence
  bool causal;

  // Keys that a query sees: the first ones, maybe none.
  DEVICE int keys_of(int query) const {
    const int seen = causal ? keys - queries + query + 1 : keys;
    return seen < 0 ? 0 : seen > keys ? keys : seen;
  }

  // The first query that sees a key, maybe behind the last one.
  DEVICE int first_query_of(int key) const {
    const int first = causal ? key - (keys - queries) : 0;
    return first < 0 ? 0 : first;
  }
};

}  // namespace glm4v::cuda
