// Which keys a query sees: all of its sequence, or with a causal mask, which is aligned to the bottom right, the last
// query all of them and each before it one key fewer.
#pragma once

#include "../device.h"

namespace glm4v::cuda {

struct Visibility {
  int keys;   // of the sequence
  int shift;  // query q sees the keys before q + shift

  DEVICE Visibility(int queries, int keys, bool causal) : keys(keys), shift(causal ? keys - queries + 1 : 1 << 30) {}

  // Keys that a query sees: the first ones, maybe none.
  DEVICE int keys_of(int query) const {
    const int seen = query + shift;
    return seen < 0 ? 0 : seen > keys ? keys : seen;
  }

  // The first query that sees a key, maybe behind the last one.
  DEVICE int first_query_of(int key) const {
    const int first = key - shift + 1;
    return first < 0 ? 0 : first;
  }
};

}  // namespace glm4v::cuda
