"""From video files and sentences to features: ffmpeg, CLIP and SlowFast. Heavy packages load with their modules."""
