"""What a plug-in's author needs: checks that prove a part, and fakes to test against."""
