"""From a folder of images to an accuracy: the recipe, batches, the loop that can be killed, scores (lesson 10)."""
