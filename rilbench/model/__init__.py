"""The text-to-image model and its LoRA adapter group; the only part that knows diffusers and peft."""
