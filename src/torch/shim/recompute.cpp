// Activation checkpointing: a part of a network whose activations are not kept, but computed again in its backward pass
// (Chen et al. 2016, "Training deep nets with sublinear memory cost").
#include "recompute.h"

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <string>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

// Lives as long as the graph that may run it.
struct Code : torch::CustomClassHolder {
  explicit Code(const sp::CodeOfRust& code) : code_(code) {}
  ~Code() override { code_.drop(code_.code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  Tensor run(at::TensorList inputs) const {
    std::vector<Tensor*> given;
    for (const Tensor& input : inputs) given.push_back(new Tensor(input));
    Tensor result;
    char* failure = nullptr;
    if (code_.run(code_.code, given.data(), int64_t(given.size()), &result, &failure) != 0) {
      const std::string text = failure ? failure : "code failed";
      if (failure) code_.drop_text(failure);
      throw std::runtime_error(text);
    }
    return result;
  }

 private:
  sp::CodeOfRust code_;
};

// Returns leaves with the same elements, so that a graph ends at them.
variable_list leaves(at::TensorList inputs) {
  variable_list made;
  for (const Tensor& input : inputs) made.push_back(input.detach().set_requires_grad(input.requires_grad()));
  return made;
}

struct Recomputed : Function<Recomputed> {
  // A list of tensors is an input of the graph only as this type.
  static Tensor forward(AutogradContext* ctx, const c10::intrusive_ptr<Code>& code, at::TensorList inputs) {
    ctx->save_for_backward(inputs.vec());
    ctx->saved_data["code"] = c10::IValue::make_capsule(code);
    // Operators may compute differently without a graph, so there is one, which is freed at once.
    const at::AutoGradMode recording(true);
    return code->run(leaves(inputs)).detach();
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "gradients of gradients cannot pass blocks whose activations are computed again");
    const auto code = c10::static_intrusive_pointer_cast<Code>(ctx->saved_data["code"].toCapsule());
    const variable_list inputs = leaves(ctx->get_saved_variables());
    Tensor output;
    {
      const at::AutoGradMode recording(true);
      output = code->run(inputs);
    }
    // Gradients of parameters are added to those that they have.
    torch::autograd::backward({output}, {grads[0]});
    variable_list found(1);
    for (const Tensor& input : inputs) found.push_back(input.grad());
    return found;
  }
};

}  // namespace

namespace sp {

Tensor recomputed(const CodeOfRust& code, const std::vector<Tensor>& inputs) {
  return Recomputed::apply(c10::make_intrusive<Code>(code), at::TensorList(inputs));
}

}  // namespace sp
