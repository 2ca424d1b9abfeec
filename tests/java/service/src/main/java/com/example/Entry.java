package com.example;

import java.io.Serializable;
import java.math.BigDecimal;

/** One movement of an account. */
public class Entry implements Serializable {
    private static final long serialVersionUID = 1;

    private int number;
    private BigDecimal amount;
    private Level level;

    public int getNumber() {
        return number;
    }

    public void setNumber(int number) {
        this.number = number;
    }

    public BigDecimal getAmount() {
        return amount;
    }

    public void setAmount(BigDecimal amount) {
        this.amount = amount;
    }

    public Level getLevel() {
        return level;
    }

    public void setLevel(Level level) {
        this.level = level;
    }
}
