"""The text-to-image model and its LoRA adapter group; the only folder that uses diffusers and peft."""
