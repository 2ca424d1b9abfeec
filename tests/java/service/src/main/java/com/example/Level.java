package com.example;

/** An enum as argument and result. */
public enum Level {
    BASIC,
    GOLD
}
