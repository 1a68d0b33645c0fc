"""The workflows: what they are made of (`catalog`) and what their steps do (`mathematics`, `orders`)."""
