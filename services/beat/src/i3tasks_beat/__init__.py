"""The beat of i3tasks: it repairs what was left behind."""
