// A program outside the tree: it uses fibers, a channel and a timer, and prints one line that its test
// expects.
#include <chrono>
#include <cstdio>
#include <thrum/thrum.hpp>

int main() {
  return thrum::run([] {
    thrum::channel<int> numbers(4);
    thrum::go([numbers]() mutable {
      for (int i = 1; i <= 10; ++i) numbers.send(i);
      numbers.close();
    });
    int sum = 0;
    for (int number : numbers) sum += number;
    thrum::this_fiber::sleep_for(std::chrono::milliseconds(1));
    std::printf("the sum is %d\n", sum);
    return 0;
  });
}
