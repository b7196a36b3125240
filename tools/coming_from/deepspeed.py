"""DeepSpeed: a checkout of github.com/deepspeedai/DeepSpeed, or its unpacked source from PyPI."""

import argparse
import ast
import logging
import math
from pathlib import Path

from coming_from import called, case, definitions, sgd, stepped

EPOCHS = 48
CALLS = {
    "warmup_log": "WarmupLR(optimizer, warmup_min_lr=0.01, warmup_max_lr=0.1, warmup_num_steps=10)",
    "warmup_linear": (
        "WarmupLR(optimizer, warmup_max_lr=0.1, warmup_num_steps=10, warmup_type='linear')"
    ),
    "warmup_decay_log": (
        "WarmupDecayLR(optimizer, total_num_steps=40, warmup_min_lr=0.01, warmup_max_lr=0.1, "
        "warmup_num_steps=10)"
    ),
    "warmup_decay_linear": (
        "WarmupDecayLR(optimizer, total_num_steps=40, warmup_max_lr=0.1, warmup_num_steps=10, "
        "warmup_type='linear')"
    ),
    "warmup_cosine_log": "WarmupCosineLR(optimizer, total_num_steps=40, warmup_num_steps=10)",
    "warmup_cosine_linear": (
        "WarmupCosineLR(optimizer, total_num_steps=40, warmup_num_steps=10, cos_min_ratio=0.1, "
        "warmup_type='linear')"
    ),
    "one_cycle": (
        "OneCycle(optimizer, cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=10, "
        "cycle_second_step_size=15)"
    ),
    "one_cycle_decay": (
        "OneCycle(optimizer, cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=10, "
        "decay_step_size=4, decay_lr_rate=0.5)"
    ),
    "one_cycle_stairs": (
        "OneCycle(optimizer, cycle_min_lr=0.01, cycle_max_lr=0.1, cycle_first_step_size=12, "
        "cycle_first_stair_count=4)"
    ),
    "range_test": (
        "LRRangeTest(optimizer, lr_range_test_min_lr=0.01, lr_range_test_step_size=8, "
        "lr_range_test_step_rate=0.5)"
    ),
    "range_test_stairs": (
        "LRRangeTest(optimizer, lr_range_test_min_lr=0.01, lr_range_test_step_size=8, "
        "lr_range_test_step_rate=0.5, lr_range_test_staircase=True)"
    ),
}


def version(checkout):
    return Path(checkout, "version.txt").read_text().strip()


def cases(checkout):
    import torch

    path = Path(checkout, "deepspeed", "runtime", "lr_schedules.py")
    body = ast.parse(path.read_text()).body
    constants = {
        node.targets[0].id: node.value.value
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    names = [node.name for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    logging.disable(logging.WARNING)  # each of them warns of itself
    found = definitions(
        path,
        names,
        argparse=argparse,
        math=math,
        logger=logging.getLogger("deepspeed"),
        is_tensor=torch.is_tensor,
        Optimizer=torch.optim.Optimizer,
        **constants,
    )
    for key, call in CALLS.items():
        optimizer = sgd()
        scheduler = called(call, found, {"optimizer": optimizer})
        yield case(key, call, stepped(scheduler, optimizer, EPOCHS))
