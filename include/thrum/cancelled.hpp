// What a waiting call throws inside a cancelled or expired scope.
//
//   try {
//     use(ch.receive());
//   } catch (const thrum::cancelled&) {
//     undo();
//     throw;
//   }
//
// cancelled is not a std::exception, so that handlers which retry on errors do not swallow it. Let it pass: the scope
// that caused it absorbs it. (The idea is trio's Cancelled.)
#pragma once

namespace thrum {

struct cancelled {};

}  // namespace thrum
