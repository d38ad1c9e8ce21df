"""Bodies whose answer to every plan is known: the ground truth of what-if. Nothing of it is used on real people.

`glucose_*` and `virtual_people`: type 1 diabetes. `tumour*`: tumour growth. Each says its equations at the top.
"""
