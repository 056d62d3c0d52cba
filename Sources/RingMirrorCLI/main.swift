print("ringmirror")
