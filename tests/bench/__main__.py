"""Compares mod_rustgi with its peers; README.md beside this says how."""
import argparse

import cases
import contenders
import counting


def main():
    parser = argparse.ArgumentParser(prog='bench')
    parser.parse_args()


for name in contenders.SHORT:
    print(name.name)
